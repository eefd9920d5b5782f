"""Reads secrets from files that only their owner may read.

The one place that looks at such a file's mode.
"""

import os
import stat

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
