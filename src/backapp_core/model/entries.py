"""What stands in a tree of files: entries as found by a scanner, nodes as recorded."""

import stat
from enum import StrEnum
from typing import NamedTuple

from attrs import field, frozen
from typing_extensions import override

from backapp_core.model.names import to_text


class EntryKind(StrEnum):
    """The types of directory entries that are kept."""

    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHAR_DEVICE = "chardev"
    BLOCK_DEVICE = "dev"

    @property
    def is_device(self) -> bool:
        """Whether the entry is a character or block device."""
        return self in {EntryKind.CHAR_DEVICE, EntryKind.BLOCK_DEVICE}


_KIND_OF_FORMAT = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFIFO: EntryKind.FIFO,
    stat.S_IFSOCK: EntryKind.SOCKET,
    stat.S_IFCHR: EntryKind.CHAR_DEVICE,
    stat.S_IFBLK: EntryKind.BLOCK_DEVICE,
}
_FORMAT_OF_KIND = {kind: bits for bits, kind in _KIND_OF_FORMAT.items()}


def kind_of_mode(mode: int) -> EntryKind:
    """Return the kind that the type bits of ``st_mode`` say.

    Raises:
        ValueError: If the type bits name no known kind (doors, whiteouts of other systems).
    """
    try:
        return _KIND_OF_FORMAT[stat.S_IFMT(mode)]
    except KeyError:
        raise ValueError(f"mode {mode:o} has no known file type") from None


def format_of_kind(kind: EntryKind) -> int:
    """Return the type bits of ``st_mode`` for ``kind``."""
    return _FORMAT_OF_KIND[kind]


class Entry(NamedTuple):
    """The cheap facts of one directory entry: what a single ``lstat`` tells.

    A named tuple and not an attrs class: one is made for every entry of every run, including runs
    in which nothing changed; a tuple takes a third of the time to make and compares in C.
    """

    name: bytes
    """Last part of the path; never empty, never holds ``/``. The whole path for a root."""
    mode: int
    """Type and permission bits as in ``st_mode``."""
    uid: int
    gid: int
    size_bytes: int
    """Logical length for files, 0 for everything else."""
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    """Device that holds the entry (``st_dev``)."""
    links: int
    rdev: int
    """Device number of a device node, else 0."""
    allocated_bytes: int
    """Bytes allocated on disk; fewer than ``size_bytes`` means the file may have holes."""

    @property
    def kind(self) -> EntryKind:
        """What the type bits say."""
        return _KIND_OF_FORMAT[stat.S_IFMT(self.mode)]


class Extent(NamedTuple):
    """A stretch of data within a sparse file; what lies between extents reads as zeros."""

    offset: int
    length_bytes: int


@frozen
class Node:
    """One entry of a snapshot, with everything that a restore needs but the content."""

    path: bytes
    """Absolute, as it was on the machine."""
    kind: EntryKind
    mode: int
    """Permission bits with set-id and sticky bits (``0o7777``); type bits are in `kind`."""
    uid: int
    gid: int
    user: str
    """Name of ``uid`` on the machine, empty if it had none."""
    group: str
    size_bytes: int
    """Bytes of content that were stored."""
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    links: int
    target: bytes = b""
    """Where a symlink points."""
    rdev: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    """Name and value of every extended attribute, in byte order of names; POSIX ACLs are among
    them."""
    extents: tuple[Extent, ...] | None = None
    """Data stretches of a sparse file in ascending order, None for a file without holes."""
    sha256: str = ""
    """Hash of the content as 64 hex digits, where the repository keeps one per file."""
    flags: frozenset[str] = field(default=frozenset[str]())
    """What went wrong while it was read: ``changed`` or ``unreadable``."""

    @property
    def name(self) -> bytes:
        """Last part of the path."""
        return self.path.rpartition(b"/")[2]

    @property
    def is_hard_linked(self) -> bool:
        """Whether other names of the same content may exist (never said of directories)."""
        return self.links > 1 and self.kind is not EntryKind.DIRECTORY

    @override
    def __str__(self) -> str:
        return to_text(self.path)


def child_path(folder: bytes, name: bytes) -> bytes:
    """Return the path of what is called ``name`` in a folder, which may be the root of all."""
    return folder + name if folder == b"/" else b"%b/%b" % (folder, name)


def is_below(path: bytes, folder: bytes) -> bool:
    """Say whether ``path`` lies below ``folder``; nothing lies below itself."""
    return path.startswith(folder if folder.endswith(b"/") else folder + b"/") and path != folder


def path_key(path: bytes) -> list[bytes]:
    """Return a key that sorts paths in scan order.

    A directory comes before all that is below it, siblings come in byte order.

    Byte order of whole paths is not it: ``/a-b`` sorts before ``/a/b`` as bytes but after it in a
    scan.
    """
    return path.split(b"/")
