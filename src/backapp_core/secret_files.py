"""Reads and writes secrets in files that only their owner may read.

The one place that looks at such a file's mode.
"""

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

from backapp_core.errors import InputError
from backapp_core.model.names import to_line

_LONGEST_SECRET_BYTES = 4096


def read_secret_file(path: str) -> str:
    """Return the secret in the file at ``path``: its UTF-8 text without the line end.

    Raises:
        InputError: If it cannot be read, is no regular file, is empty, longer than 4,096 bytes or
            several lines, or if others than its owner may use it. The message names the file and
            never what is in it.
    """
    raw = _read_private(path)
    shown = to_line(path)
    # Not strict: the error of a strict decoder carries the bytes. What is no UTF-8 is not printable
    # either.
    secret = raw.decode(errors="surrogateescape").removesuffix("\n").removesuffix("\r")
    if not secret.isprintable() or not secret:
        raise InputError(f"secret file {shown} must hold one line of printable UTF-8 text")
    return secret


def write_private_file(path: Path, text: str) -> None:
    """Put ``text`` into the file at ``path``, all of it or none; only its owner may read it.

    Folders are made if need be, for the owner alone. What stood there is replaced; when this
    returns, the new text survives a power cut. Threads and processes may write the same file at
    once: what the last one put there stays.

    Raises:
        InputError: If it cannot be written; the message names the file and never what is in it.
    """
    # Its own for each thread: none may put in place what another is still writing.
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.draft")
    try:
        _make_folder(path.parent)
        draft.unlink(missing_ok=True)  # of one of these numbers that was killed
        _write_draft(draft, text)
        draft.replace(path)
        _synchronise(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise InputError(
            f"the file {to_line(str(path))} cannot be written: {error.strerror or error}"
        ) from error


def _make_folder(folder: Path) -> None:
    if folder.is_dir() or folder == folder.parent:
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    _synchronise(folder.parent)


def _write_draft(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _synchronise(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_private(path: str) -> bytes:
    shown = to_line(path)
    # O_NONBLOCK: a fifo must be refused, not waited for; Windows has neither.
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InputError(f"secret file {shown} cannot be read: {reason}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"secret file {shown} is not a regular file")
        if os.name == "posix" and found.st_mode & 0o077:
            raise InputError(
                f"secret file {shown} may be used by others "
                f"(mode {stat.S_IMODE(found.st_mode):04o}); run chmod 600 on it"
            )
        if found.st_size > _LONGEST_SECRET_BYTES:
            raise InputError(f"secret file {shown} is longer than {_LONGEST_SECRET_BYTES} bytes")
        return os.read(descriptor, _LONGEST_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
