"""Reads what a scanner finds into objects of the plain repository in `memory_archiver`."""

import hashlib
from collections.abc import Iterable, Iterator

from attrs import define, evolve, field, frozen

from backapp_core.errors import ObjectExists, SourceError
from backapp_core.events import FileDone, Problem, Progress, Verb
from backapp_core.model.entries import Entry, EntryKind, Extent, Node, child_path
from backapp_core.model.snapshots import Counts
from backapp_core.ports.scanners import FoundDirectory, OpenedFile, Scanner
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import Transport

_PIECE_BYTES = 1 << 16


@frozen
class Collected:
    """The nodes of a snapshot, what was counted on the way, and the objects that were written."""

    nodes: tuple[Node, ...]
    counts: Counts = Counts()
    objects: tuple[tuple[str, int], ...] = ()


@define
class _Figures:
    new: int = 0
    changed: int = 0
    unmodified: int = 0
    directories: int = 0
    others: int = 0
    problems: int = 0
    processed_bytes: int = 0
    read_bytes: int = 0
    objects: list[tuple[str, int]] = field(factory=list[tuple[str, int]])


class Collector:
    """One backup's way through the source; used once."""

    def __init__(
        self,
        transport: Transport,
        surroundings: Surroundings,
        parent: Iterable[Node],
        *,
        rereads_all: bool,
        reports_files: bool = False,
    ) -> None:
        self._transport = transport
        self._surroundings = surroundings
        self._known = {node.path: node for node in parent}
        self._files_total = sum(node.kind is EntryKind.FILE for node in self._known.values())
        self._bytes_total = sum(node.size_bytes for node in self._known.values())
        self._rereads_all = rereads_all
        self._reports_files = reports_files
        self._figures = _Figures()

    def collect(self, scanner: Scanner) -> Collected:
        """Store every content that is new and return what makes a snapshot.

        Raises:
            SourceNotFound: If none of the roots exists.
            CommandFailed: If a stream does not come to a good end.
            RunCancelled: If the run is cancelled.
            TransportError: If the destination fails.
        """
        nodes: list[Node] = []
        for found in scanner.scan():
            with found:
                nodes.append(self._directory(scanner, found))
                for entry in found.entries:
                    self._surroundings.cancel.check()
                    node = self._entry(scanner, found, entry)
                    if node is not None:
                        nodes.append(node)
            self._tell(found.path)
        figures = self._figures
        counts = Counts(
            files_new=figures.new,
            files_changed=figures.changed,
            files_unmodified=figures.unmodified,
            directories=figures.directories,
            others=figures.others,
            problems=figures.problems + scanner.problems,
            processed_bytes=figures.processed_bytes,
            read_bytes=figures.read_bytes,
            stored_bytes=sum(size for _, size in figures.objects),
        )
        return Collected(tuple(nodes), counts, tuple(figures.objects))

    def _tell(self, current: bytes) -> None:
        figures = self._figures
        self._surroundings.events(
            Progress(
                Verb.BACKUP,
                files_done=figures.new + figures.changed + figures.unmodified,
                bytes_done=figures.processed_bytes,
                files_total=self._files_total or None,
                bytes_total=self._bytes_total or None,
                current=current,
                problems=figures.problems,
            )
        )

    def _problem(self, path: bytes, reason: str) -> None:
        self._figures.problems += 1
        self._surroundings.events(Problem(Verb.BACKUP, path, reason))

    def _name(self, path: bytes, action: str, size_bytes: int) -> None:
        if self._reports_files:
            self._surroundings.events(FileDone(Verb.BACKUP, path, action, size_bytes))

    def _directory(self, scanner: Scanner, found: FoundDirectory) -> Node:
        self._figures.directories += 1
        node = _node(scanner, found.path, found.entry)
        try:
            return evolve(node, xattrs=found.attributes(None))
        except SourceError as error:
            self._problem(found.path, error.message)
            return node

    def _entry(self, scanner: Scanner, found: FoundDirectory, entry: Entry) -> Node | None:
        path = child_path(found.path, entry.name)
        try:
            node = evolve(_node(scanner, path, entry), xattrs=found.attributes(entry))
            if node.kind is EntryKind.SYMLINK:
                node = evolve(node, target=found.link_target(entry))
            if node.kind is EntryKind.FILE:
                return self._file(found, entry, node)
        except SourceError as error:
            self._problem(path, error.message)
            return None
        self._figures.others += 1
        return node

    def _file(self, found: FoundDirectory, entry: Entry, node: Node) -> Node:
        old = self._known.get(node.path)
        if old is not None and not self._rereads_all and _facts(old) == _facts(node):
            self._figures.unmodified += 1
            self._figures.processed_bytes += old.size_bytes
            self._name(node.path, "unmodified", old.size_bytes)
            return evolve(old, xattrs=node.xattrs)
        with found.open(entry) as opened:
            data, extents = _read(opened)
            fresh = opened.entry
            flags = frozenset({"changed"} if opened.has_changed() else ())
        if flags:
            self._problem(node.path, "changed while it was read")
        digest = hashlib.sha256(data).hexdigest()
        self._store(digest, data)
        if old is None or old.kind is not EntryKind.FILE:
            action = "new"
            self._figures.new += 1
        elif old.sha256 == digest:
            action = "unmodified"
            self._figures.unmodified += 1
        else:
            action = "changed"
            self._figures.changed += 1
        self._name(node.path, action, len(data))
        self._figures.processed_bytes += len(data)
        self._figures.read_bytes += len(data)
        return evolve(
            node,
            size_bytes=len(data),
            mtime_ns=fresh.mtime_ns,
            ctime_ns=fresh.ctime_ns,
            extents=extents,
            sha256=digest,
            flags=flags,
        )

    def _store(self, digest: str, data: bytes) -> None:
        if not data:
            return
        try:
            size_bytes = self._transport.put(f"data/{digest}", [data], size_bytes=len(data))
        except ObjectExists:
            return  # the same content, known by its name
        self._figures.objects.append((f"data/{digest}", size_bytes))


def _read(opened: OpenedFile) -> tuple[bytes, tuple[Extent, ...] | None]:
    """Return the whole content, holes as zeros, and where the data lie."""
    if opened.is_stream:
        return b"".join(_pieces(opened)), None
    extents = opened.extents()
    size_bytes = opened.entry.size_bytes
    if extents is None:
        return opened.read_at(0, size_bytes), None
    content = bytearray(size_bytes)
    for offset, length_bytes in extents:
        data = opened.read_at(offset, length_bytes)
        content[offset : offset + len(data)] = data
    return bytes(content), tuple(extents)


def _pieces(stream: OpenedFile) -> Iterator[bytes]:
    position = 0
    while data := stream.read_at(position, _PIECE_BYTES):
        yield data
        position += len(data)


def _facts(node: Node) -> tuple[object, ...]:
    return (node.kind, node.size_bytes, node.mtime_ns, node.ctime_ns, node.inode)


def _node(scanner: Scanner, path: bytes, entry: Entry) -> Node:
    return Node(
        path=path,
        kind=entry.kind,
        mode=entry.mode & 0o7777,
        uid=entry.uid,
        gid=entry.gid,
        user=scanner.user_name(entry.uid),
        group=scanner.group_name(entry.gid),
        size_bytes=entry.size_bytes,
        mtime_ns=entry.mtime_ns,
        ctime_ns=entry.ctime_ns,
        inode=entry.inode,
        device=entry.device,
        links=entry.links,
        rdev=entry.rdev,
    )
