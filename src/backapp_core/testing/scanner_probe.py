"""What the kit of scanners looks with: a whole scan as a value, one file, one change."""

import os
import pickle
import stat
from collections.abc import Iterator

from attrs import frozen

from backapp_core.events import Problem, Recording
from backapp_core.model.entries import Entry, EntryKind
from backapp_core.ports.scanners import FoundDirectory, OpenedFile, Scanner
from backapp_core.testing.trees import Item, parent_of, put_item

_READ_BYTES = 70_000
_MOST_BYTES = 512 << 10


@frozen
class Seen:
    """Everything that a scan handed over, in order."""

    directories: list[bytes]
    entries: dict[bytes, Entry]
    """By path; directories are among them."""
    problems: list[Problem]


def see(scanner: Scanner, events: Recording) -> Seen:
    """Scan once and return what was handed over, each directory looked at and closed at once."""
    events.events.clear()
    seen = Seen([], {}, [])
    for found in scanner.scan():
        with found:
            seen.directories.append(found.path)
            assert found.path not in seen.entries
            seen.entries[found.path] = found.entry
            assert found.entry.kind is EntryKind.DIRECTORY
            names = [entry.name for entry in found.entries]
            assert names == sorted(names)
            for entry in found.entries:
                path = found.path.removesuffix(b"/") + b"/" + entry.name
                assert path not in seen.entries
                assert entry.kind is not EntryKind.DIRECTORY
                seen.entries[path] = entry
    seen.problems.extend(events.of(Problem))
    assert len(seen.problems) == scanner.problems
    return seen


def facts_of(entry: Entry) -> tuple[object, ...]:
    """Return of an entry what `facts_wanted` says of an item."""
    mode = 0 if entry.kind is EntryKind.SYMLINK else stat.S_IMODE(entry.mode)
    return entry.name, entry.kind, mode, entry.mtime_ns, entry.size_bytes, entry.rdev


def facts_wanted(path: bytes, item: Item) -> tuple[object, ...]:
    """Return what an entry must say of ``item`` at ``path``."""
    length = len(item.content) if item.size_bytes is None else item.size_bytes
    mode = 0 if item.kind is EntryKind.SYMLINK else item.mode
    return path.rpartition(b"/")[2], item.kind, mode, item.mtime_ns, length, item.rdev


def check_content(opened: OpenedFile, item: Item) -> None:
    """Compare content extent by extent, so that a terabyte of nothing is not read."""
    size_bytes = opened.entry.size_bytes
    extents = opened.extents()
    if item.size_bytes is None:
        content = b"".join(
            opened.read_at(offset, _READ_BYTES) for offset in range(0, size_bytes, _READ_BYTES)
        )
        assert content == item.content
        return
    assert extents is not None
    end = 0
    for extent in extents:
        assert end <= extent.offset
        assert extent.length_bytes > 0
        end = extent.offset + extent.length_bytes
        assert end <= size_bytes
    for offset, data in item.pieces:
        assert opened.read_at(offset, len(data)) == data
        assert any(
            extent.offset <= offset and offset + len(data) <= extent.offset + extent.length_bytes
            for extent in extents
        )


def up_to(scan: Iterator[FoundDirectory], path: bytes) -> FoundDirectory:
    """Go on with a scan until it hands over ``path``.

    Raises:
        AssertionError: If it never does.
    """
    for found in scan:
        if found.path == path:
            return found
    raise AssertionError(f"{path!r} was not handed over")


def opened_at(scanner: Scanner, folder: bytes, name: bytes) -> OpenedFile:
    """Open one file; it must stay usable although the scan that found it is over."""
    scan = scanner.scan()
    found = up_to(scan, folder)
    return found.open(next(entry for entry in found.entries if entry.name == name))


def change_on_disk(top: bytes, path: bytes, item: Item | None) -> None:
    """Put ``item`` where ``path`` is: a file is written anew, all else is moved out of the way."""
    top_fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with parent_of(top_fd, path) as (fd, name):
            status = os.lstat(name, dir_fd=fd)
            if item and item.kind is EntryKind.FILE and stat.S_ISREG(status.st_mode):
                file_fd = os.open(name, os.O_WRONLY | os.O_TRUNC, dir_fd=fd)
                os.write(file_fd, item.content)
                os.close(file_fd)
                return
            away = top + b"-away-%d" % len(os.listdir(os.path.dirname(top)))  # noqa: PTH208, PTH120  # bytes
            os.rename(name, away, src_dir_fd=fd)
    finally:
        os.close(top_fd)
    if item:
        put_item(top, path, item)


def check_read_elsewhere(scanner: Scanner) -> None:
    """Require that what can be read elsewhere is, pickled and found again, what it is here."""
    for found in scanner.scan() if scanner.is_read_elsewhere else ():
        again: FoundDirectory = pickle.loads(pickle.dumps(found))  # noqa: S301  # just made
        for entry in found.entries:
            if entry.kind is EntryKind.FILE:
                here = found.read_whole(entry, _MOST_BYTES)
                assert again.read_whole(entry, _MOST_BYTES) == here
        again.close()
