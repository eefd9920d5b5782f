r"""Paths are bytes; this module shows them as text and reads that text back.

A path on Linux is any bytes but NUL, so no encoding describes all of them. `to_text` keeps
printable Unicode as it is and writes everything else (control characters, line and paragraph
separators, bidi controls, bytes that are not UTF-8, and the backslash itself) as ``\xNN`` per byte.
The result holds no character that can break a line, move a cursor or reverse a display, and
`from_text` is its exact inverse. The same text stands in JSON, in manifests, in logs and on the
terminal.
"""

import os
import re
from collections.abc import Iterable
from typing import TypeAlias

from backapp_core.errors import InputError

AnyPath: TypeAlias = str | bytes | os.PathLike[str]
"""What a program may name a path by; `path_bytes` makes bytes of it."""

_PLAIN = re.compile(rb"[ -\[\]-~]*").fullmatch
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def to_text(path: bytes) -> str:
    r"""Return ``path`` as printable text; ``b"a\nb"`` becomes ``a\x0ab``."""
    if _PLAIN(path):
        return path.decode("ascii")
    return "".join(map(_show, path.decode("utf-8", "surrogateescape")))


def from_text(text: str) -> bytes:
    r"""Return the bytes that `to_text` wrote as ``text``.

    Text that a person typed is taken as it stands: a backslash that starts no ``\xNN`` is itself.
    """
    raw = text.encode("utf-8", "surrogateescape")
    if b"\\" not in raw:
        return raw
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), raw)


def without_trailing_blanks(line: str) -> str:
    """Return a line of a list of patterns without the blanks at its end that are not meant.

    One is meant that a backslash stands before, unless that is escaped itself, as in gitignore(5).
    """
    bare = line.rstrip(" \t")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return line[: len(bare) + backslashes % 2]


def to_line(text: str) -> str:
    r"""Return ``text`` as one printable line.

    Everything else is written as ``\xNN`` per byte of its UTF-8.

    For words that people read (subjects, messages). Unlike `to_text` it leaves a backslash alone,
    since such text often holds paths that are escaped already, and so it has no inverse.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else _escape(character) for character in text
    )


def path_bytes(path: AnyPath) -> bytes:
    """Return ``path`` as the operating system knows it.

    Raises:
        InputError: If it is no path at all.
    """
    try:
        return os.fsencode(path)
    except (TypeError, UnicodeEncodeError):
        raise InputError(f"{path!a} is no path; give a str, bytes or a pathlib.Path") from None


def all_path_bytes(paths: AnyPath | Iterable[AnyPath]) -> tuple[bytes, ...]:
    """Return each of ``paths`` as the operating system knows it; one path may stand for itself.

    Raises:
        InputError: If one is no path.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        return (path_bytes(paths),)  # text has a length, too: it would be a path per character
    try:
        return tuple(path_bytes(one) for one in paths)
    except TypeError:
        raise InputError(f"{paths!a} is no path and no sequence of paths") from None


def _escape(character: str) -> str:
    # What stands for a byte that is no UTF-8 is written as that byte; other lone surrogates have an
    # encoding too.
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return _hex(character.encode("utf-8", errors))


def _hex(raw: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _show(character: str) -> str:
    if character != "\\" and character.isprintable():
        return character
    return _hex(character.encode("utf-8", "surrogateescape"))
