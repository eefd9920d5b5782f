"""Keys from where a person keeps them: a password file, a command, identity files."""

import codecs
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from backapp_core.errors import InputError
from backapp_core.ports.surroundings import Keys

_LONGEST_PASSWORD_BYTES = 64 * 1024


def keys_from(
    *,
    password_file: str = "",
    password_command: str = "",
    identity_files: Sequence[str] = (),
) -> Keys:
    """Return keys that read the password when it is asked for, and not before.

    The password is what the file holds, or the command prints, without white space around it, as
    restic has it. A file may be of an editor that marks its encoding, UTF-8 or UTF-16.

    Raises:
        InputError: If both a file and a command are given. Asking for the password raises it, too,
            if the file cannot be read or the command fails.
    """
    if password_file and password_command:
        raise InputError("a password file and a password command are given; use one of them")
    password: Callable[[], str] | None = None
    if password_file:
        password = lambda: _read_password(Path(password_file))  # noqa: E731  # two ways, one name
    elif password_command:
        password = lambda: _run_for_password(password_command)  # noqa: E731  # two ways, one name
    return Keys(password=password, identity_files=tuple(Path(name) for name in identity_files))


def _read_password(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_PASSWORD_BYTES)
    except OSError as error:
        raise InputError(
            f"the password file {path} cannot be read: {error.strerror or error}"
        ) from error
    return _clean(raw, f"the password file {path}", encoding=_encoding_of(raw))


def _encoding_of(raw: bytes) -> str:
    """Return what the mark at the beginning of a file says, which is no part of the password."""
    return "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _run_for_password(command: str) -> str:
    try:
        words = shlex.split(command, posix=sys.platform != "win32")
    except ValueError as error:
        raise InputError(f"the password command cannot be split into words: {error}") from error
    if not words:
        raise InputError("the password command is empty")
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, check=False)  # noqa: S603  # the user's own command
    except OSError as error:
        raise InputError(
            f"the password command '{words[0]}' cannot be run: {error.strerror or error}"
        ) from error
    if done.returncode:
        raise InputError(
            f"the password command '{words[0]}' ended with exit code {done.returncode}"
        )
    return _clean(done.stdout, "the password command's output")


def _clean(raw: bytes, source: str, *, encoding: str = "utf-8") -> str:
    try:
        text = raw.decode(encoding).strip()
    except UnicodeDecodeError:
        raise InputError(f"{source} is no UTF-8 text") from None
    if not text:
        raise InputError(f"{source} is empty")
    return text
