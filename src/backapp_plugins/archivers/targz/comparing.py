"""What makes an entry the same as in the parent snapshot."""

from hashlib import blake2b

from msgspec.structs import replace

from backapp_core.plugin_api import (
    Entry,
    EntryKind,
    FoundDirectory,
    encoded_entries,
    encoded_facts,
)
from backapp_plugins.archivers.targz.manifest import ENTRIES_PER_BLOCK, DirLine, EntryLine

Inode = tuple[int, int, int, int, int, int]


def fingerprint(found: FoundDirectory) -> str:
    """Return a hash of all facts of a directory and its entries; empty for a very large one."""
    if len(found.entries) > ENTRIES_PER_BLOCK:
        return ""
    hasher = blake2b(encoded_facts(found.entry), digest_size=16)
    for piece in encoded_entries(found.entries):
        hasher.update(piece)
    return hasher.hexdigest()


def is_unchanged(old: EntryLine, kind: EntryKind, entry: Entry) -> bool:
    """Say whether an entry is what it was, as far as a scan can see, so it need not be read."""
    return (
        old.mtime == entry.mtime_ns
        and old.ctime == entry.ctime_ns
        and old.ino == entry.inode
        and old.type == kind.value
        and (old.size == entry.size_bytes or kind is not EntryKind.FILE)
        and not old.racy
        and not old.flags
    )


def is_same(old: EntryLine, line: EntryLine) -> bool:
    """Say whether a file that was read again is what it was, in all that a restore gives back."""
    return _kept(old) == _kept(line)


def _kept(line: EntryLine) -> tuple[object, ...]:
    return (
        line.sha256,
        line.size,
        line.extents,
        line.mtime,
        line.mode,
        line.uid,
        line.gid,
        line.xattrs,
        line.flags,
    )


def is_as_before(old: EntryLine, line: EntryLine) -> bool:
    """Say whether a line tells what the old one told, in all that a scan sees and a restore gives.

    Where the content lies, and how long it was at rest when it was read, is neither.
    """
    return old is line or _told(old) == _told(line)


def _told(line: EntryLine) -> EntryLine:
    return replace(line, dev=0, at=None, racy=False)


def is_head_as_before(old: DirLine, head: DirLine) -> bool:
    """Say of a directory itself what `is_as_before` says of an entry."""
    return facts(old) == facts(head) and (old.ctime, old.ino, old.user, old.group) == (
        head.ctime,
        head.ino,
        head.user,
        head.group,
    )


def facts(head: DirLine) -> tuple[object, ...]:
    """Return what of a directory makes its header in the archive worth writing again."""
    return (head.mode, head.uid, head.gid, head.mtime, head.xattrs)


def inode_of(entry: Entry) -> Inode:
    """Return what names of one file have in common as long as nobody changes it.

    The number alone would not do: it is given anew as soon as a file is deleted, and the file may
    be written to between the moments at which two of its names are seen.
    """
    return (
        entry.device,
        entry.inode,
        entry.mode,
        entry.size_bytes,
        entry.mtime_ns,
        entry.ctime_ns,
    )
