"""From a manifest's lines to nodes, every claim checked: whoever can write there may lie."""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence

from backapp_core.plugin_api import DamagedRepository, EntryKind, Node, from_text, to_text
from backapp_plugins.archivers.targz.manifest import (
    Block,
    DirLine,
    EntryLine,
    bytes_of,
    path_of,
)

_LARGEST_TIME_NS = 2**62 * 1_000_000_000
"""What a system's clock can say, in seconds, and more than msgspec's bounds can."""


def xattrs_to_plain(xattrs: Sequence[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """Return extended attributes as they stand in a line."""
    return {to_text(name): b64encode(value).decode() for name, value in xattrs} if xattrs else None


def xattrs_from_plain(plain: dict[str, str] | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return extended attributes as a node has them.

    Raises:
        DamagedRepository: If a value is not base64.
    """
    if not plain:
        return ()
    try:
        xattrs = tuple(
            (from_text(name), b64decode(value, validate=True)) for name, value in plain.items()
        )
    except ValueError as error:
        raise DamagedRepository(
            f"a manifest is damaged: an extended attribute is not base64: {error}"
        ) from error
    if any(not name or b"\0" in name for name, _ in xattrs):
        raise DamagedRepository("a manifest is damaged: an extended attribute has no name")
    return xattrs


def node_of_directory(head: DirLine) -> Node:
    """Return the noun for a directory.

    Raises:
        DamagedRepository: If its path is none.
    """
    path = path_of(head.dir)
    if not -_LARGEST_TIME_NS < head.mtime < _LARGEST_TIME_NS:
        raise DamagedRepository(f"a manifest is damaged: {head.dir} changed at no time")
    return Node(
        path=path,
        kind=EntryKind.DIRECTORY,
        mode=head.mode,
        uid=head.uid,
        gid=head.gid,
        user=head.user,
        group=head.group,
        size_bytes=0,
        mtime_ns=head.mtime,
        ctime_ns=head.ctime,
        inode=head.ino,
        device=head.dev,
        links=head.links,
        xattrs=xattrs_from_plain(head.xattrs),
    )


def _node_of_entry(prefix: bytes, line: EntryLine) -> Node:
    """Return the noun for an entry of the directory whose path, with a slash, is ``prefix``.

    Raises:
        DamagedRepository: If it can be no such entry.
    """
    name = bytes_of(line.name)
    kind = _KINDS.get(line.type)
    if (
        kind is None
        or not name
        or b"/" in name
        or b"\0" in name
        or name in {b".", b".."}
        or not -_LARGEST_TIME_NS < line.mtime < _LARGEST_TIME_NS
        or not (_has_content(line) if kind is EntryKind.FILE else line.at is None)
    ):
        raise DamagedRepository(
            f"a manifest is damaged: '{line.name}' in {to_text(prefix)} is no entry"
        )
    return Node(
        path=prefix + name,
        kind=kind,
        mode=line.mode,
        uid=line.uid,
        gid=line.gid,
        user=line.user,
        group=line.group,
        size_bytes=line.size,
        mtime_ns=line.mtime,
        ctime_ns=line.ctime,
        inode=line.ino,
        device=line.dev,
        links=line.links,
        target=_target(line) if line.target else b"",
        rdev=line.rdev,
        xattrs=xattrs_from_plain(line.xattrs) if line.xattrs else (),
        extents=line.extents,
        sha256=line.sha256,
        flags=frozenset(line.flags) if line.flags else _NO_FLAGS,
    )


def nodes_of(folder: bytes, block: Block, after: bytes) -> Iterator[tuple[Node, EntryLine]]:
    """Yield the entries of a block of the directory ``folder``.

    Args:
        folder: Path of the directory.
        block: One of its blocks.
        after: Path of the entry before, or that of the directory itself.

    Raises:
        DamagedRepository: If they do not ascend, or one makes no sense.
    """
    prefix = folder if folder == b"/" else folder + b"/"
    for line in block.lines():
        node = _node_of_entry(prefix, line)
        if node.path <= after:
            raise DamagedRepository(
                f"a manifest is damaged: '{line.name}' in {to_text(folder)} "
                "does not stand in its order"
            )
        after = node.path
        yield node, line


def _has_content(line: EntryLine) -> bool:
    """Say whether a file's size, extents and place fit together."""
    stored = line.size
    if line.extents is not None:
        stored = end = 0
        for extent in line.extents:
            if extent.offset < end or extent.length_bytes < 0:
                return False
            stored += extent.length_bytes
            end = extent.offset + extent.length_bytes
        if end > line.size:
            return False
    return stored == 0 or line.at is not None


def _target(line: EntryLine) -> bytes:
    target = bytes_of(line.target)
    if b"\0" in target:
        raise DamagedRepository(f"a manifest is damaged: '{line.name}' points nowhere")
    return target


_NO_FLAGS: frozenset[str] = frozenset()
_KINDS = {kind.value: kind for kind in EntryKind if kind is not EntryKind.DIRECTORY}
