"""The sources that were named: checked, put in order, and the way to each."""

import os
import stat
from collections.abc import Iterable, Sequence

from attrs import field, frozen

from backapp_core.plugin_api import InputError, is_below, path_key, to_text
from backapp_plugins.scanners.files.faults import reason


def checked_roots(named: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the named paths in scan order, tidied and each once; nested ones are still among them.

    Raises:
        InputError: If there is none, or one is not absolute or holds ``..`` or a NUL.
    """
    if not named:
        raise InputError("name at least one path to back up")
    return tuple(sorted({checked_path(path, "source") for path in named}, key=scan_key))


def checked_path(path: bytes, what: str) -> bytes:
    """Return an absolute path without doubled slashes, dots and a final slash.

    Raises:
        InputError: If it is not absolute or holds ``..`` or a NUL.
    """
    shown = to_text(path)
    if not path.startswith(b"/"):
        raise InputError(f"{what} '{shown}' is not absolute; write the whole path from '/'")
    parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise InputError(f"{what} '{shown}' holds '..'; write the path without")
    if b"\0" in path:
        raise InputError(f"{what} '{shown}' holds a NUL byte, which no path can")
    return b"/" + b"/".join(parts)


def scan_key(path: bytes) -> list[bytes]:
    """Return the key of scan order in which ``/`` comes before everything."""
    return [] if path == b"/" else path_key(path)


def outermost(roots: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return those of sorted ``roots`` that are not inside another."""
    kept: list[bytes] = []
    for root in roots:
        if not kept or not is_below(root, kept[-1]):
            kept.append(root)
    return tuple(kept)


def without_missing(roots: Sequence[bytes]) -> Sequence[bytes]:
    """Return those of ``roots`` that exist; all of them if none does."""
    return [root for root in roots if not _is_missing(root)] or roots


def _is_missing(root: bytes) -> bool:
    try:
        os.lstat(root)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # something is there, or may be
    return False


@frozen
class Ways:
    """The roots that are there, and which names lead to them from each directory above."""

    roots: frozenset[bytes] = frozenset()
    names: dict[bytes, set[bytes]] = field(factory=dict[bytes, set[bytes]])
    """By directory: names in it that are a root or lead to one."""
    faults: tuple[tuple[bytes, str], ...] = ()
    """Roots that cannot be backed up, and why."""
    are_all_missing: bool = False


def ways_to(named: Sequence[bytes]) -> Ways:
    """Look at every named path and return the ways to those that are there."""
    present: list[bytes] = []
    faults: list[tuple[bytes, str]] = []
    missing = 0
    outer = b""
    for root in named:
        try:
            os.lstat(root)
        except OSError as error:
            is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            missing += is_missing
            text = "there is nothing of this name" if is_missing else reason(error)
            faults.append((root, text))
            continue
        if outer and is_below(root, outer):
            if link := _link_between(outer, root):
                faults.append(
                    (root, f"lies behind the link '{to_text(link)}', which is kept as a link")
                )
                continue
        else:
            outer = root
        present.append(root)
    names: dict[bytes, set[bytes]] = {}
    for root in present:
        path = root
        while path != b"/":
            above, _, name = path.rpartition(b"/")
            path = above or b"/"
            names.setdefault(path, set()).add(name)
    return Ways(frozenset(present), names, tuple(faults), missing == len(named))


def _link_between(outer: bytes, inner: bytes) -> bytes | None:
    """Return the first thing on the way from one root to another inside it that is no directory."""
    path = inner.rpartition(b"/")[0] or b"/"
    found = None
    while len(path) >= len(outer):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            found = path
        if path == outer:
            break
        path = path.rpartition(b"/")[0] or b"/"
    return found
