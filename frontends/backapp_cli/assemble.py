"""Reads environment and settings file and makes an engine; the one place that does.

What is given on the command line goes before the environment, ``BACKAPP_*`` before ``RESTIC_*``,
and the environment before the settings file.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, evolve, field

from backapp_core.errors import InputError, InvalidAddress, InvalidSettings
from backapp_core.events import EventSink
from backapp_core.model.compressions import Compression
from backapp_core.model.quantities import seconds_of
from backapp_core.model.rates import Rate
from backapp_core.ports.surroundings import CancelToken
from backapp_core.settings import Settings

if TYPE_CHECKING:
    from backapp_core.engine import Engine

_T = TypeVar("_T")
CONFIG = "BACKAPP_CONFIG"
DEBUG = "BACKAPP_DEBUG"
COMPLETE = "_BACKAPP_COMPLETE"


@define
class Choices:
    """What the command line said; empty where it said nothing."""

    repository: str = ""
    password_file: str = ""
    password_command: str = ""
    identity_files: tuple[str, ...] = ()
    from_repository: str = ""
    """The repository that is copied from, where there is such; so the next two."""
    from_password_file: str = ""
    from_password_command: str = ""
    cache_folder: str = ""
    compression: str = ""
    retry_lock: str = ""
    limit_upload: Rate | None = None
    """How fast bytes may be sent; None where the command line does not say."""
    limit_download: Rate | None = None
    agent_folder: str = ""
    """Where the agent of this machine keeps its key and policy."""
    config: str = ""
    is_debug: bool = False
    environment: Mapping[str, str] = field(factory=lambda: os.environ)


@define
class Secret:
    """Where the password comes from: at most one of these is set."""

    value: str = field(default="", repr=False)
    file: str = ""
    command: str = ""


def wants_traceback(choices: Choices) -> bool:
    """Say whether unexpected errors are to be shown in full."""
    return choices.is_debug or bool(choices.environment.get(DEBUG))


def asked_to_complete(choices: Choices) -> str:
    """Return what a shell's completion script asks for, empty in an ordinary run."""
    return choices.environment.get(COMPLETE, "")


def repository_name(choices: Choices, settings: Settings) -> str:
    """Return the address, or name in the settings file, of the repository that is meant.

    Raises:
        InputError: If none is named anywhere, or the file that is to name it cannot be read.
        InvalidAddress: If it is no single line of text.
    """
    name = choices.repository or _repository_of_environment(choices) or settings.repository
    if any(character in name for character in "\0\r\n"):
        raise InvalidAddress(f"the repository address {name!a} is not one line")
    if not name:
        raise InputError(
            "no repository is named; give one with --repo (-r) or in $BACKAPP_REPOSITORY"
        )
    return name


def source_choices(choices: Choices) -> Choices:
    """Return what was said of the repository to copy from as if it were the one that is meant.

    Raises:
        InputError: If none is named anywhere.
    """
    source = Choices(
        repository=choices.from_repository,
        password_file=choices.from_password_file,
        password_command=choices.from_password_command,
        identity_files=choices.identity_files,
        environment={
            name.replace("_FROM_", "_", 1): value
            for name, value in choices.environment.items()
            if name.startswith(("BACKAPP_FROM_", "RESTIC_FROM_"))
        },
    )
    if not source.repository and not _repository_of_environment(source):
        raise InputError(
            "no repository to copy from is named; give one with --from-repo or in "
            "$BACKAPP_FROM_REPOSITORY"
        )
    return source


def secret(choices: Choices, configured: Secret) -> Secret:
    """Return where the password comes from, the command line first.

    Raises:
        InputError: If the command line names both a file and a command.
    """
    if choices.password_file and choices.password_command:
        raise InputError("--password-file and --password-command exclude each other; give one")
    if choices.password_file or choices.password_command:
        return Secret(file=choices.password_file, command=choices.password_command)
    for prefix in ("BACKAPP_", "RESTIC_"):
        found = Secret(
            value=choices.environment.get(f"{prefix}PASSWORD", ""),
            file=choices.environment.get(f"{prefix}PASSWORD_FILE", ""),
            command=choices.environment.get(f"{prefix}PASSWORD_COMMAND", ""),
        )
        if found != Secret():
            return found
    return configured


def identity_files(choices: Choices, configured: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the paths of the age identity files to try."""
    listed = choices.environment.get("BACKAPP_IDENTITY_FILE", "")
    return choices.identity_files or tuple(filter(None, listed.split(os.pathsep))) or configured


def agent_folder(choices: Choices) -> Path:
    """Return where the agent of this machine keeps its key and policy."""
    named = choices.agent_folder or choices.environment.get("BACKAPP_AGENT_DIR", "")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_config_path("backapp") / "agent"


def has_terminal(choices: Choices) -> bool:
    """Say whether standard error is a terminal on which the cursor can be moved."""
    return sys.stderr.isatty() and choices.environment.get("TERM", "dumb") not in {"", "dumb"}


def make_engine(settings: Settings, *, events: EventSink, cancel: CancelToken) -> "Engine":
    """Return an engine on what is installed and what ``settings`` say; opens nothing yet."""
    from backapp_core.assembly import assemble

    return assemble(settings, events=events, cancel=cancel)


def read_settings(choices: Choices) -> Settings:
    """Return what the settings file says, with what the command line says instead of it.

    Raises:
        InvalidSettings: If it cannot be used; every fault is listed.
        InputError: If the environment asks for a compression that there is not, for a limit that is
            no rate, or to wait for a lock for no stretch of time.
    """
    data, source = _read_settings_file(choices)
    settings = Settings.parse(data, source=source) if data else Settings()
    cache_folder = choices.cache_folder or choices.environment.get("BACKAPP_CACHE_DIR", "")
    return evolve(
        settings,
        cache_folder=cache_folder or settings.cache_folder,
        compression=_compression(choices) or settings.compression,
        retry_lock=choices.retry_lock
        or _named(choices, "BACKAPP_RETRY_LOCK", _stretch)
        or settings.retry_lock,
        limit_upload=choices.limit_upload
        or _named(choices, "BACKAPP_LIMIT_UPLOAD", Rate.parse)
        or settings.limit_upload,
        limit_download=choices.limit_download
        or _named(choices, "BACKAPP_LIMIT_DOWNLOAD", Rate.parse)
        or settings.limit_download,
    )


def _compression(choices: Choices) -> Compression | None:
    if choices.compression:
        return Compression(choices.compression)
    for name in ("BACKAPP_COMPRESSION", "RESTIC_COMPRESSION"):
        if value := choices.environment.get(name, ""):
            try:
                return Compression(value)
            except ValueError as error:
                known = ", ".join(each.value for each in Compression)
                raise InputError(f"${name} is {value!a}; use one of {known}") from error
    return None


def _named(choices: Choices, name: str, read: Callable[[str], _T]) -> _T | None:
    """Return what a variable of the environment says; None if it is not there or empty.

    Raises:
        InputError: If it says nothing that can be read; names the variable.
    """
    text = choices.environment.get(name, "")
    if not text:
        return None
    try:
        return read(text)
    except InputError as error:
        raise InputError(f"${name}: {error.message}") from error


def _stretch(text: str) -> str:
    seconds_of(text)
    return text


def _read_settings_file(choices: Choices) -> tuple[Mapping[str, Any], str]:
    named = choices.config or choices.environment.get(CONFIG, "")
    path = Path(named).expanduser() if named else _default_settings_file()
    source = f"settings file {path}"
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        if named:
            raise InvalidSettings(source, [("", "the file does not exist")]) from None
        return {}, source
    except OSError as error:
        raise InvalidSettings(source, [("", error.strerror or str(error))]) from error
    except UnicodeDecodeError as error:
        raise InvalidSettings(source, [("", f"byte {error.start} is no UTF-8")]) from error
    return _parse(text, source), source


def _parse(text: str, source: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(source, [("", f"is no TOML: {error}")]) from error


def _default_settings_file() -> Path:
    import platformdirs

    return platformdirs.user_config_path("backapp") / "backapp.toml"


def _repository_of_environment(choices: Choices) -> str:
    if name := _variable(choices, "REPOSITORY"):
        return name
    path = _variable(choices, "REPOSITORY_FILE")
    if not path:
        return ""
    try:
        return os.fsdecode(Path(path).expanduser().read_bytes()).strip()
    except OSError as error:
        raise InputError(
            f"the file {path} that is to name the repository cannot be read: {error.strerror}"
        ) from error


def _variable(choices: Choices, name: str) -> str:
    return choices.environment.get(f"BACKAPP_{name}") or choices.environment.get(
        f"RESTIC_{name}", ""
    )
