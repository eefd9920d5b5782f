"""A scanner that is as simple as it can be, so that an archiver can be tested without any plugin.

It holds everything it finds in memory, knows no patterns, and trusts that nobody changes the tree
meanwhile (unless a test does so on purpose through `PlainScanner.between`).
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import final

from typing_extensions import override

from backapp_core.errors import EntryUnreadable, EntryVanished, SourceNotFound
from backapp_core.model.entries import Entry, Extent, child_path
from backapp_core.ports.scanners import FoundDirectory, OpenedFile, Scanner
from backapp_core.ports.surroundings import Surroundings


@final
class PlainScanner(Scanner):
    """Walks directories below one root that is a directory."""

    def __init__(
        self,
        root: bytes,
        surroundings: Surroundings,
        *,
        between: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        """Prepare to walk ``root``; ``between`` is told each directory that was listed."""
        self.roots = (root,)
        self._surroundings = surroundings
        self._between = between

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        root = self.roots[0]
        if not os.path.isdir(root):  # noqa: PTH112  # a path of bytes
            raise SourceNotFound(f"{root!r} does not exist")
        above = root.rstrip(b"/").split(b"/")[:-1]
        for length in range(1, len(above) + 1):
            path = b"/".join(above[:length]) or b"/"
            yield _PlainDirectory(path, _entry_of(path, path), [])
        yield from self._walk(root)

    def _walk(self, path: bytes) -> Iterator[FoundDirectory]:
        self._surroundings.cancel.check()
        entries = [_entry_of(child_path(path, name), name) for name in sorted(os.listdir(path))]  # noqa: PTH208  # bytes
        inside = [entry for entry in entries if stat.S_ISDIR(entry.mode)]
        found = _PlainDirectory(
            path,
            _entry_of(path, path),
            [entry for entry in entries if not stat.S_ISDIR(entry.mode)],
        )
        self._between(path)
        yield found
        for entry in inside:
            yield from self._walk(child_path(path, entry.name))

    @override
    def user_name(self, uid: int) -> str:
        return f"user{uid}"

    @override
    def group_name(self, gid: int) -> str:
        return f"group{gid}"

    @property
    @override
    def problems(self) -> int:
        return 0


@final
class _PlainDirectory(FoundDirectory):
    def __init__(self, path: bytes, entry: Entry, entries: Sequence[Entry]) -> None:
        self.path = path
        self.entry = entry
        self.entries = entries

    @override
    def open(self, entry: Entry) -> OpenedFile:
        path = child_path(self.path, entry.name)
        try:
            return _PlainFile(os.open(path, os.O_RDONLY), entry.name)
        except FileNotFoundError as error:
            raise EntryVanished("vanished before it was read") from error
        except OSError as error:
            raise EntryUnreadable(str(error.strerror)) from error

    @override
    def attributes(self, entry: Entry | None) -> tuple[tuple[bytes, bytes], ...]:
        path = self.path if entry is None else child_path(self.path, entry.name)
        try:
            names = sorted(os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False))
            return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
        except FileNotFoundError as error:
            raise EntryVanished("vanished before it was read") from error

    @override
    def link_target(self, entry: Entry) -> bytes:
        return os.readlink(child_path(self.path, entry.name))  # noqa: PTH115  # a path of bytes

    @override
    def close(self) -> None:
        """Nothing is held."""


@final
class _PlainFile(OpenedFile):
    def __init__(self, fd: int, name: bytes) -> None:
        self._fd = fd
        self.entry = _entry_from(os.fstat(fd), name)

    @override
    def extents(self) -> Sequence[Extent] | None:
        if self.entry.allocated_bytes >= self.entry.size_bytes:
            return None
        found: list[Extent] = []
        position = 0
        while position < self.entry.size_bytes:
            try:
                start = os.lseek(self._fd, position, os.SEEK_DATA)
            except OSError:
                break  # nothing but a hole up to the end
            position = os.lseek(self._fd, start, os.SEEK_HOLE)
            found.append(Extent(start, position - start))
        return tuple(found)

    @override
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        return os.pread(self._fd, length_bytes, offset)

    @override
    def has_changed(self) -> bool:
        now = _entry_from(os.fstat(self._fd), self.entry.name)
        return (now.size_bytes, now.mtime_ns, now.ctime_ns) != (
            self.entry.size_bytes,
            self.entry.mtime_ns,
            self.entry.ctime_ns,
        )

    @override
    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _entry_of(path: bytes, name: bytes) -> Entry:
    return _entry_from(os.lstat(path), name)


def _entry_from(facts: os.stat_result, name: bytes) -> Entry:
    return Entry(
        name=name,
        mode=facts.st_mode,
        uid=facts.st_uid,
        gid=facts.st_gid,
        size_bytes=facts.st_size if stat.S_ISREG(facts.st_mode) else 0,
        mtime_ns=facts.st_mtime_ns,
        ctime_ns=facts.st_ctime_ns,
        inode=facts.st_ino,
        device=facts.st_dev,
        links=facts.st_nlink,
        rdev=facts.st_rdev,
        allocated_bytes=facts.st_blocks * 512,
    )
