"""The `command` scanner: what a command prints, or standard input, as one file."""

from collections.abc import Sequence

from backapp_core.plugin_api import Scanner, ScannerKind, Surroundings, hookimpl
from backapp_plugins.scanners.command.settings import CommandSettings

__all__ = ["KIND", "CommandSettings", "backapp_scanners", "open_command"]


def open_command(settings: CommandSettings, surroundings: Surroundings) -> Scanner:
    """Return a scanner of what a command prints; nothing is run before the file is read.

    Raises:
        InputError: If the settings do not name one file, and either a command or standard input.
    """
    from backapp_plugins.scanners.command.scanner import CommandScanner

    return CommandScanner(settings, surroundings)


KIND = ScannerKind(name="command", settings=CommandSettings, open=open_command)


@hookimpl
def backapp_scanners() -> Sequence[ScannerKind]:
    """Offer the scanner of commands."""
    return [KIND]
