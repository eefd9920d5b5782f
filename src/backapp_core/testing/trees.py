"""Trees of files for tests: described as values, written to disk, compared.

`TreeSpec` says what a tree shall hold, `TreeSpec.write` makes it so, `same_tree` and
`describe_tree` judge the result. Paths are bytes, relative to the top, of any length; everything is
made relative to directory descriptors.
"""

import os
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from backapp_core.model.entries import EntryKind, format_of_kind, path_key
from backapp_core.testing.tree_facts import (
    Facts,
    describe_tree,
    parent_of,
    same_tree,
    tree_differences,
)

__all__ = [
    "DEFAULT_MTIME_NS",
    "Facts",
    "Item",
    "TreeSpec",
    "describe_tree",
    "directory",
    "parent_of",
    "put_item",
    "same_tree",
    "symlink",
    "tree_differences",
]

DEFAULT_MTIME_NS = 1_600_000_000_123_456_789


@frozen
class Item:
    """One path of a tree that a test wants; a regular file unless it says otherwise."""

    content: bytes = field(default=b"", repr=lambda content: repr(content[:40]))
    kind: EntryKind = EntryKind.FILE
    mode: int = 0o644
    """Permission bits with set-id and sticky bits; ignored for symlinks."""
    mtime_ns: int = DEFAULT_MTIME_NS
    uid: int | None = None
    """None: whoever runs the test."""
    gid: int | None = None
    target: bytes = b""
    rdev: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    size_bytes: int | None = None
    """Logical length of a sparse file; None: the length of ``content``."""
    pieces: tuple[tuple[int, bytes], ...] = ()
    """Offset and bytes of the data of a sparse file, instead of ``content``."""
    link_of: bytes | None = None
    """Path of another item that this is a further name of; everything else is then that one's."""


def directory(**facts: Any) -> Item:
    """Return a directory; ``facts`` as in `Item`."""
    return evolve(Item(kind=EntryKind.DIRECTORY, mode=0o755), **facts)


def symlink(target: bytes, **facts: Any) -> Item:
    """Return a symlink; ``facts`` as in `Item`."""
    return evolve(Item(kind=EntryKind.SYMLINK, mode=0o777, target=target), **facts)


def _with_parents(items: Mapping[bytes, Item]) -> dict[bytes, Item]:
    whole = dict(items)
    for path in items:
        parts = path.split(b"/")
        for length in range(len(parts) - 1, 0, -1):
            parent = b"/".join(parts[:length])
            if parent in whole:
                break
            whole[parent] = directory()
    return {path: whole[path] for path in sorted(whole, key=path_key)}


@frozen
class TreeSpec:
    """What a tree shall hold; directories on the way to an item are implied."""

    items: Mapping[bytes, Item] = field(factory=dict[bytes, Item], converter=_with_parents)
    """By path relative to the top, in scan order."""

    def plus(self, items: Mapping[bytes, Item]) -> "TreeSpec":
        """Return the tree with ``items`` added or replaced."""
        return TreeSpec({**self.items, **items})

    def only(self, wanted: Callable[[bytes, Item], bool]) -> "TreeSpec":
        """Return the tree with the items that ``wanted`` says yes to, and their parents."""
        return TreeSpec({path: item for path, item in self.items.items() if wanted(path, item)})

    def write(self, top: bytes | Path) -> None:
        """Make the tree below ``top``, which is made if need be and keeps its own facts.

        Directories get their metadata last, so that nothing written later moves their times.
        """
        os.makedirs(top, exist_ok=True)  # noqa: PTH103  # may be bytes
        with _opened(top) as top_fd:
            for path, item in self.items.items():
                if item.link_of is None:
                    with parent_of(top_fd, path) as (fd, name):
                        _create(fd, name, item)
                        if item.kind is not EntryKind.DIRECTORY:
                            _dress(fd, name, item)
            for path, item in self.items.items():
                if item.link_of is not None:
                    _link(top_fd, item.link_of, path)
            for path, item in reversed(list(self.items.items())):
                if item.kind is EntryKind.DIRECTORY:
                    with parent_of(top_fd, path) as (fd, name):
                        _dress(fd, name, item)


def put_item(top: bytes | Path, path: bytes, item: Item) -> None:
    """Make one more item of a tree on disk, in a directory that is there."""
    with _opened(top) as top_fd:
        if item.link_of is not None:
            _link(top_fd, item.link_of, path)
            return
        with parent_of(top_fd, path) as (fd, name):
            _create(fd, name, item)
            _dress(fd, name, item)


@contextmanager
def _opened(top: bytes | Path) -> Generator[int, None, None]:
    top_fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield top_fd
    finally:
        os.close(top_fd)


def _create(fd: int, name: bytes, item: Item) -> None:
    if item.kind is EntryKind.FILE:
        with _new_file(fd, name) as file_fd:
            for offset, data in item.pieces or ((0, item.content),):
                _write_all(file_fd, data, offset)
            if item.size_bytes is not None:
                os.ftruncate(file_fd, item.size_bytes)
    elif item.kind is EntryKind.DIRECTORY:
        os.mkdir(name, 0o700, dir_fd=fd)
    elif item.kind is EntryKind.SYMLINK:
        os.symlink(item.target, name, dir_fd=fd)
    else:
        os.mknod(name, format_of_kind(item.kind) | 0o600, item.rdev, dir_fd=fd)


@contextmanager
def _new_file(fd: int, name: bytes) -> Generator[int, None, None]:
    file_fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=fd)
    try:
        yield file_fd
    finally:
        os.close(file_fd)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def _link(top_fd: int, first: bytes, second: bytes) -> None:
    with parent_of(top_fd, first) as (fd, name), parent_of(top_fd, second) as (new_fd, new_name):
        os.link(name, new_name, src_dir_fd=fd, dst_dir_fd=new_fd, follow_symlinks=False)


def _dress(fd: int, name: bytes, item: Item) -> None:
    """Set owner, mode, attributes and times, in the order in which one does not undo another."""
    if item.uid is not None or item.gid is not None:
        uid = -1 if item.uid is None else item.uid
        gid = -1 if item.gid is None else item.gid
        os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
    if item.kind is not EntryKind.SYMLINK:
        os.chmod(name, stat.S_IMODE(item.mode), dir_fd=fd)
    for key, value in item.xattrs:
        os.setxattr(b"/proc/self/fd/%d/%s" % (fd, name), key, value, follow_symlinks=False)
    os.utime(name, ns=(item.mtime_ns, item.mtime_ns), dir_fd=fd, follow_symlinks=False)
