"""The `files` scanner: what stands in folders of this machine."""

from collections.abc import Sequence

from backapp_core.plugin_api import Scanner, ScannerKind, Surroundings, hookimpl
from backapp_plugins.scanners.files.settings import FilesSettings

__all__ = ["KIND", "FilesSettings", "backapp_scanners", "open_files"]


def open_files(settings: FilesSettings, surroundings: Surroundings) -> Scanner:
    """Return a scanner of what the settings name; nothing is looked at yet but the pattern files.

    Raises:
        InputError: If the settings name no source or one that is not absolute.
        InvalidPattern: If a pattern is malformed or a pattern file cannot be read.
    """
    from backapp_plugins.scanners.files.scanner import FilesScanner

    return FilesScanner(settings, surroundings)


KIND = ScannerKind(name="files", settings=FilesSettings, open=open_files)


@hookimpl
def backapp_scanners() -> Sequence[ScannerKind]:
    """Offer the scanner of files."""
    return [KIND]
