"""Writes the content of a snapshot to a stream: one file as it is, a folder as a tar archive."""

import io
import tarfile
from collections.abc import Hashable, Iterator
from typing import BinaryIO

from typing_extensions import override

from backapp_core.engine.selections import Single, Subtree, clean_path
from backapp_core.errors import InputError, PathNotFound
from backapp_core.events import Problem, Verb
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.names import to_text
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings

_TYPES = {
    EntryKind.FILE: tarfile.REGTYPE,
    EntryKind.DIRECTORY: tarfile.DIRTYPE,
    EntryKind.SYMLINK: tarfile.SYMTYPE,
    EntryKind.FIFO: tarfile.FIFOTYPE,
    EntryKind.CHAR_DEVICE: tarfile.CHRTYPE,
    EntryKind.BLOCK_DEVICE: tarfile.BLKTYPE,
}


def dump(
    surroundings: Surroundings,
    repository: Repository,
    snapshot: Snapshot,
    path: bytes,
    out: BinaryIO,
) -> None:
    """Write what stands at ``path`` to ``out``.

    It is verified, but what was written before damage is found stays written. A folder becomes an
    uncompressed pax archive with names relative to it, in which further names of one file are hard
    links; sockets, which tar cannot hold, are reported and left out.

    Raises:
        PathNotFound: If nothing stands there.
        InputError: If it is neither a file nor a folder.
        DamagedRepository: If stored bytes are missing or altered.
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    top = clean_path(path)
    node = next((one for one in repository.nodes(snapshot, Single(top)) if one.path == top), None)
    if node is None and top != b"/":
        raise PathNotFound(f"snapshot {snapshot.short_id} holds no '{to_text(top)}'")
    if node is None or node.kind is EntryKind.DIRECTORY:
        _dump_folder(surroundings, repository, snapshot, top, out)
    elif node.kind is EntryKind.FILE:
        for chunk in repository.read(snapshot, node):
            surroundings.cancel.check()
            out.write(chunk)
    else:
        raise InputError(
            f"'{to_text(top)}' is a {node.kind.value}; only files and folders can be written out"
        )


def _dump_folder(
    surroundings: Surroundings,
    repository: Repository,
    snapshot: Snapshot,
    top: bytes,
    out: BinaryIO,
) -> None:
    # Surrogates keep names that are no UTF-8; PAX headers say so by hdrcharset.
    with tarfile.open(
        fileobj=out,
        mode="w|",
        format=tarfile.PAX_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
    ) as archive:
        first_names: dict[Hashable, bytes] = {}
        for node in repository.nodes(snapshot, Subtree(top)):
            surroundings.cancel.check()
            name = node.path[len(top) :].lstrip(b"/") or b"."
            if node.kind is EntryKind.SOCKET:
                reason = "sockets cannot stand in a tar archive"
                surroundings.events(Problem(Verb.RESTORE, node.path, reason))
            elif (first := _first_name(first_names, node, name)) != name:
                archive.addfile(_link(node, name, first))
            elif node.kind is EntryKind.FILE:
                content = _Content(repository.read(snapshot, node))
                archive.addfile(_header(node, name), content)
            else:
                archive.addfile(_header(node, name))


def _first_name(first_names: dict[Hashable, bytes], node: Node, name: bytes) -> bytes:
    """Return the name under which the same file was written already, else ``name``."""
    if not node.is_hard_linked:
        return name
    # Content that changed between the readings of two names is not the same, whatever the inode.
    identity = (node.device, node.inode, node.kind, node.size_bytes, node.sha256)
    return first_names.setdefault(identity, name)


def _link(node: Node, name: bytes, first: bytes) -> tarfile.TarInfo:
    info = _header(node, name)
    info.type = tarfile.LNKTYPE
    info.size = 0
    info.linkname = first.decode("utf-8", "surrogateescape")
    return info


def _header(node: Node, name: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.type = _TYPES[node.kind]
    info.mode = node.mode
    info.uid, info.gid, info.uname, info.gname = node.uid, node.gid, node.user, node.group
    info.size = node.size_bytes if node.kind is EntryKind.FILE else 0
    info.linkname = node.target.decode("utf-8", "surrogateescape")
    # Only text survives in full: as a float 2026 has a resolution of some 200 ns.
    info.mtime = node.mtime_ns // 1_000_000_000
    info.pax_headers = {"mtime": _seconds(node.mtime_ns)}
    for attribute, value in node.xattrs:
        key = f"SCHILY.xattr.{attribute.decode('utf-8', 'surrogateescape')}"
        info.pax_headers[key] = value.decode("utf-8", "surrogateescape")
    if node.kind.is_device:
        info.devmajor, info.devminor = _device_numbers(node.rdev)
    return info


def _seconds(moment_ns: int) -> str:
    sign = "-" if moment_ns < 0 else ""
    whole, fraction = divmod(abs(moment_ns), 1_000_000_000)
    return f"{sign}{whole}.{fraction:09d}"


def _device_numbers(rdev: int) -> tuple[int, int]:
    # As Linux splits st_rdev; os.major is not there on Windows.
    major = (rdev >> 8) & 0xFFF | (rdev >> 32) & ~0xFFF
    return major, rdev & 0xFF | (rdev >> 12) & ~0xFF


class _Content(io.RawIOBase):
    """An iterator of chunks as a readable file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def read(self, size: int = -1, /) -> bytes:
        pieces: list[memoryview] = []
        wanted = size
        while wanted:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
            piece = self._rest[:wanted] if wanted > 0 else self._rest
            self._rest = self._rest[len(piece) :]
            pieces.append(piece)
            wanted -= len(piece) if wanted > 0 else 0
        return b"".join(pieces)
