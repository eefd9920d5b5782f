"""Options that several commands share; what they say goes into the session."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from backapp_cli import values
from backapp_cli.session import Session
from backapp_core.model.compressions import Compression

_F = TypeVar("_F", bound=Callable[..., Any] | click.Command)
_Store = Callable[[Session, Any], None]


class GlobalOption(click.Option):
    """An option that is the same everywhere; stands at the end of a command's help."""


def global_options(function: _F) -> _F:
    """Add the options that every command has, and the program itself in front of a command."""
    return _add(
        function,
        _option("--json", is_flag=True, store=_json, help="Write one JSON object per line."),
        _option(
            "-q",
            "--quiet",
            is_flag=True,
            store=_quiet,
            help="No progress and no remarks; results and errors only.",
        ),
        _option(
            "-v", "--verbose", count=True, store=_verbose, help="Say more; twice: name every file."
        ),
        _option(
            "--config",
            metavar="FILE",
            type=values.PathText(),
            store=_choice("config"),
            help="Settings file, instead of the user's own. [$BACKAPP_CONFIG]",
        ),
        _option(
            "--cache-dir",
            metavar="FOLDER",
            type=values.PathText(),
            store=_choice("cache_folder"),
            help="Folder for caches. [$BACKAPP_CACHE_DIR]",
        ),
        _option(
            "--debug",
            is_flag=True,
            store=_choice("is_debug"),
            help="Show the traceback of an unexpected error. [$BACKAPP_DEBUG]",
        ),
    )


def repository_options(function: _F) -> _F:
    """Add the options that say which repository is meant and what opens it."""
    return _add(
        function,
        _option(
            "-r",
            "--repo",
            metavar="URL",
            type=values.PathText(),
            store=_choice("repository"),
            help="Address of the repository, or its name in the settings file. "
            "[$BACKAPP_REPOSITORY, $BACKAPP_REPOSITORY_FILE, the same with RESTIC_]",
        ),
        _option(
            "-p",
            "--password-file",
            metavar="FILE",
            type=values.PathText(),
            store=_choice("password_file"),
            help="File that holds the password. [$BACKAPP_PASSWORD_FILE, $RESTIC_PASSWORD_FILE]",
        ),
        _option(
            "--password-command",
            metavar="COMMAND",
            store=_choice("password_command"),
            help="Command that prints the password. "
            "[$BACKAPP_PASSWORD_COMMAND, $RESTIC_PASSWORD_COMMAND]",
        ),
        _option(
            "-I",
            "--identity-file",
            metavar="FILE",
            type=values.PathText(),
            multiple=True,
            store=_choice("identity_files"),
            help="File with an age identity (repeatable). [$BACKAPP_IDENTITY_FILE]",
        ),
        _retry_lock_option(),
    )


def lock_option(function: _F) -> _F:
    """Add, where the repository is not for the command line to say, the one that says to wait."""
    return _add(function, _retry_lock_option())


def line_options(function: _F) -> _F:
    """Add the options that say how fast bytes may go to and from other machines."""
    return _add(
        function,
        _option(
            "--limit-upload",
            metavar="RATE",
            type=values.rate,
            store=_choice("limit_upload"),
            help="Send at most so many KiB a second, or 2M (0: no limit). [$BACKAPP_LIMIT_UPLOAD]",
        ),
        _option(
            "--limit-download",
            metavar="RATE",
            type=values.rate,
            store=_choice("limit_download"),
            help="Fetch at most so many KiB a second. [$BACKAPP_LIMIT_DOWNLOAD]",
        ),
    )


def compression_option(function: _F) -> _F:
    """Add the option that says how hard what is written is compressed."""
    return _add(
        function,
        _option(
            "--compression",
            type=click.Choice([each.value for each in Compression]),
            store=_choice("compression"),
            help="How hard what is stored is compressed (default: auto). "
            "[$BACKAPP_COMPRESSION, $RESTIC_COMPRESSION]",
        ),
    )


def agent_options(function: _F) -> _F:
    """Add the option that says where the agent of this machine keeps its key and policy."""
    return _add(
        function,
        _option(
            "--agent-dir",
            metavar="FOLDER",
            type=values.PathText(),
            store=_choice("agent_folder"),
            help="Folder of the agent's key and policy. [$BACKAPP_AGENT_DIR]",
        ),
    )


def source_options(function: _F) -> _F:
    """Add the options that say which repository is copied from and what opens it."""
    return _add(
        function,
        _option(
            "--from-repo",
            metavar="URL",
            type=values.PathText(),
            store=_choice("from_repository"),
            help="Repository to copy from. [$BACKAPP_FROM_REPOSITORY, $RESTIC_FROM_REPOSITORY]",
        ),
        _option(
            "--from-password-file",
            metavar="FILE",
            type=values.PathText(),
            store=_choice("from_password_file"),
            help="File that holds its password. [$BACKAPP_FROM_PASSWORD_FILE, the same with "
            "RESTIC_]",
        ),
        _option(
            "--from-password-command",
            metavar="COMMAND",
            store=_choice("from_password_command"),
            help="Command that prints its password. [$BACKAPP_FROM_PASSWORD_COMMAND, the same "
            "with RESTIC_]",
        ),
    )


def _retry_lock_option() -> Callable[[_F], _F]:
    return _option(
        "--retry-lock",
        metavar="DURATION",
        type=values.stretch,
        store=_choice("retry_lock"),
        help="Wait so long, such as 5m or 1h30m, for a repository that others have locked. "
        "[$BACKAPP_RETRY_LOCK]",
    )


def _option(*names: str, store: _Store, **keywords: Any) -> Callable[[_F], _F]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        del param
        # Given before the command and after it, the latter counts; not given, it says nothing.
        if value:
            store(ctx.ensure_object(Session), value)

    return click.option(*names, cls=GlobalOption, expose_value=False, callback=callback, **keywords)


def _add(function: _F, *options: Callable[[_F], _F]) -> _F:
    # A function collects its options from the last to the first, a command as they come.
    is_command = isinstance(function, click.Command)
    for option in options if is_command else reversed(options):
        function = option(function)
    return function


def _choice(name: str) -> _Store:
    def store(session: Session, value: Any) -> None:
        setattr(session.choices, name, value)

    return store


def _json(session: Session, value: bool) -> None:
    session.output.is_json = value


def _quiet(session: Session, value: bool) -> None:
    session.output.is_quiet = value


def _verbose(session: Session, value: int) -> None:
    session.verbosity += value
