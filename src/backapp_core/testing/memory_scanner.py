"""A scanner of a tree in memory: paths and contents are said, everything else is made up."""

import itertools
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen
from typing_extensions import override

from backapp_core.errors import CommandFailed, EntryUnreadable, EntryVanished, SourceNotFound
from backapp_core.model.entries import Entry, Extent, path_key
from backapp_core.ports.scanners import FoundDirectory, OpenedFile, Scanner, ScannerKind
from backapp_core.ports.surroundings import Surroundings

_TICKS = itertools.count(1)
_MTIME_NS = 1_700_000_000_123_456_789
_FILE, _FOLDER, _LINK = stat.S_IFREG | 0o640, stat.S_IFDIR | 0o750, stat.S_IFLNK | 0o777


@frozen
class Link:
    """A symlink to ``target``."""

    target: bytes


@frozen
class Unreadable:
    """A file that is there and may not be read."""


@frozen
class EmptyFolder:
    """A folder with nothing in it."""


@frozen
class Stream:
    """A file whose length shows at its end."""

    content: bytes
    failure: str = ""
    """What goes wrong after all of the content was read, if anything."""


Content = bytes | Link | Unreadable | EmptyFolder | Stream
"""What stands at a path; folders are made where paths need them."""


@frozen
class MemoryScannerSettings:
    """Which of the tree is scanned."""

    roots: tuple[bytes, ...] = ()
    skip_folders: tuple[bytes, ...] = ()


def memory_scanner(tree: Mapping[bytes, Content], *, name: str = "files") -> ScannerKind:
    """Return a kind whose scanners look at ``tree``, as it is at the moment of the scan."""

    def open_scanner(settings: MemoryScannerSettings, surroundings: Surroundings) -> Scanner:
        return MemoryScanner(tree, settings, surroundings)

    return ScannerKind(name, MemoryScannerSettings, open_scanner)


class MemoryScanner(Scanner):
    """Keeps the order and the cancelling that `Scanner` asks for."""

    def __init__(
        self,
        tree: Mapping[bytes, Content],
        settings: MemoryScannerSettings,
        surroundings: Surroundings,
    ) -> None:
        self._tree = tree
        self._skipped = settings.skip_folders
        self._cancel = surroundings.cancel
        self.roots = tuple(sorted(settings.roots, key=path_key))
        self.has_streams = any(isinstance(what, Stream) for what in tree.values())

    @property
    @override
    def problems(self) -> int:
        return 0

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        chosen = {path: what for path, what in self._tree.items() if self._is_chosen(path)}
        if not chosen:
            raise SourceNotFound("none of the sources exists")
        return self._walk(chosen)

    @override
    def user_name(self, uid: int) -> str:
        return "somebody" if uid else "root"

    @override
    def group_name(self, gid: int) -> str:
        return "somebody" if gid else "root"

    def _is_chosen(self, path: bytes) -> bool:
        is_inside = any(path == root or path.startswith(root + b"/") for root in self.roots)
        return is_inside and not any(path.startswith(one + b"/") for one in self._skipped)

    def _walk(self, chosen: Mapping[bytes, Content]) -> Iterator[FoundDirectory]:
        folders: dict[bytes, dict[bytes, Content]] = {b"/": {}}
        for path, what in chosen.items():
            parent, _, name = path.rpartition(b"/")
            above = folders.setdefault(parent or b"/", {})
            if isinstance(what, EmptyFolder):
                folders.setdefault(path, {})
            else:
                above[name] = what
            while parent:
                folders.setdefault(parent, {})
                parent = parent.rpartition(b"/")[0]
        for path in sorted(folders, key=lambda one: path_key(one.rstrip(b"/"))):
            self._cancel.check()
            yield _Found(path, folders[path])


class _Opened(OpenedFile):
    def __init__(self, entry: Entry, content: bytes) -> None:
        self.entry = entry
        self._content = content

    @override
    def extents(self) -> Sequence[Extent] | None:
        return None

    @override
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        return self._content[offset : offset + length_bytes]

    @override
    def has_changed(self) -> bool:
        return False

    @override
    def close(self) -> None:
        """Nothing is held."""


class _OpenedStream(_Opened):
    is_stream = True

    def __init__(self, entry: Entry, stream: Stream) -> None:
        super().__init__(entry, stream.content)
        self._failure = stream.failure
        self._position = 0

    @override
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        assert offset == self._position, "a stream is read from the beginning, without gaps"
        data = super().read_at(offset, length_bytes)
        self._position += len(data)
        if len(data) < length_bytes and self._failure:
            raise CommandFailed(self._failure)
        return data


class _Found(FoundDirectory):
    def __init__(self, path: bytes, contents: Mapping[bytes, Content]) -> None:
        self.path = path
        self.contents = contents
        self.entry = _entry(path, path.rpartition(b"/")[2] or b"/", None)
        prefix = path.rstrip(b"/") + b"/"
        self.entries = [_entry(prefix + name, name, contents[name]) for name in sorted(contents)]

    @override
    def open(self, entry: Entry) -> OpenedFile:
        match self.contents.get(entry.name):
            case bytes() as content:
                return _Opened(entry, content)
            case Stream() as stream:
                return _OpenedStream(entry, stream)
            case Unreadable():
                raise EntryUnreadable("may not be read")
            case _:
                raise EntryVanished("is gone")

    @override
    def attributes(self, entry: Entry | None) -> tuple[tuple[bytes, bytes], ...]:
        return ()

    @override
    def link_target(self, entry: Entry) -> bytes:
        match self.contents.get(entry.name):
            case Link(target):
                return target
            case _:
                raise EntryVanished("is gone")

    @override
    def close(self) -> None:
        """Nothing is held."""


def _entry(path: bytes, name: bytes, what: Content | None) -> Entry:
    """Make up facts; times and inode follow from path and content, so that a change shows."""
    content = what if isinstance(what, bytes) else b""
    mode = _FOLDER if what is None else _LINK if isinstance(what, Link) else _FILE
    changed_ns = _MTIME_NS + (zlib.crc32(content) if content else 0)
    if isinstance(what, Stream):
        changed_ns += next(_TICKS)  # what is made anew in every scan is never what it was
    return Entry(
        name=name,
        mode=mode,
        uid=0,
        gid=0,
        size_bytes=len(content),
        mtime_ns=changed_ns,
        ctime_ns=changed_ns,
        inode=zlib.crc32(path),
        device=1,
        links=1,
        rdev=0,
        allocated_bytes=len(content),
    )
