"""A command, or what is piped in, as the source of a backup; the options are restic's."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from attrs import frozen

from backapp_cli import values
from backapp_cli.streams import closed_at_start
from backapp_core.errors import InputError
from backapp_core.model.names import to_text
from backapp_core.model.requests import BackupRequest

_DEFAULT_NAME = b"stdin"


@frozen
class Piped:
    """What was said of a source that is no file."""

    runs_command: bool
    name: bytes
    """Where the one file stands in the snapshot."""

    def request(self, words: Sequence[bytes], *, chooses_files: bool) -> BackupRequest:
        """Return what the engine is asked for.

        Args:
            words: What stands on the command line besides options.
            chooses_files: Whether there are options that choose among files.

        Raises:
            InputError: If there is no command or nothing to read, or there are such options.
        """
        if chooses_files:
            raise InputError("patterns and lists choose among files; leave them out with --stdin")
        return BackupRequest(self.name, "command", self._settings(words))

    def _settings(self, words: Sequence[bytes]) -> dict[str, object]:
        if self.runs_command:
            if not words:
                raise InputError(
                    "no command was given; write it after --, as in: "
                    "backapp backup --stdin-from-command -- pg_dump mail"
                )
            return {"command": [to_text(word) for word in words]}
        if words:
            raise InputError(
                f"--stdin backs up what is piped in; leave out '{to_text(words[0])}', "
                "or name it in a backup of its own"
            )
        if 0 in closed_at_start:
            raise InputError("standard input is closed, so there is nothing to back up")
        if sys.stdin.isatty():
            raise InputError(
                "standard input is a terminal; pipe something into it, as in: "
                "pg_dump mail | backapp backup --stdin"
            )
        return {"reads_stdin": True}


def piped_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for such sources; the command receives ``piped``, None if none was given."""

    @functools.wraps(function)
    def with_piped(*arguments: Any, **keywords: Any) -> Any:
        piped = _piped(
            keywords.pop("stdin"),
            keywords.pop("stdin_from_command"),
            keywords.pop("stdin_filename"),
        )
        return function(*arguments, piped=piped, **keywords)

    for option in reversed(_OPTIONS):
        with_piped = option(with_piped)
    return with_piped


_OPTIONS = (
    click.option("--stdin", is_flag=True, help="Back up what is piped in, as one file."),
    click.option(
        "--stdin-from-command",
        is_flag=True,
        help="Run what follows -- and back up what it prints; no snapshot is made if it fails.",
    ),
    click.option(
        "--stdin-filename",
        metavar="NAME",
        type=values.path_bytes,
        help="Name of that file in the snapshot (default: stdin).",
    ),
)


def _piped(stdin: bool, from_command: bool, filename: bytes | None) -> Piped | None:
    if stdin and from_command:
        raise InputError(
            "--stdin backs up what is piped in, --stdin-from-command what a command prints; "
            "give one of them"
        )
    if not stdin and not from_command:
        if filename is not None:
            raise InputError(
                "--stdin-filename names what --stdin or --stdin-from-command reads; "
                "give one of them, too"
            )
        return None
    name = (filename or _DEFAULT_NAME).lstrip(b"/")
    return Piped(runs_command=from_command, name=os.path.normpath(b"/" + name))
