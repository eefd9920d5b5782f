"""From a snapshot back to entries: listing nodes, reading one file, writing many into a target."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from typing import final

from backapp_core.plugin_api import (
    DamagedRepository,
    EntryKind,
    EntryNotRestored,
    Everything,
    Extent,
    Node,
    Selection,
    Target,
    TargetFile,
    WrongPassword,
    is_below,
    to_text,
)
from backapp_plugins.archivers.targz.archive_reader import ArchiveReader, ReadAhead
from backapp_plugins.archivers.targz.layout import Record
from backapp_plugins.archivers.targz.manifest import (
    Block,
    DirLine,
    EntryLine,
    Reader,
)
from backapp_plugins.archivers.targz.nodes import (
    node_of_directory,
    nodes_of,
)
from backapp_plugins.archivers.targz.place import Place

_Inode = tuple[int, int, int, str]
_ZEROS = bytes(1 << 20)
_SPECIAL_MARKS = tuple(
    f'"type":"{kind.value}"'.encode()
    for kind in EntryKind
    if kind not in {EntryKind.FILE, EntryKind.DIRECTORY}
)
_LINKS_MARK = b'"links":'


@final
class SnapshotReader:
    """One snapshot, opened; a context manager, used by one thread."""

    def __init__(self, place: Place, record: Record) -> None:
        self._place = place
        self._record = record
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        self._readers: dict[int, ArchiveReader] = {}
        self._ahead = ReadAhead()
        self._members: Mapping[int, tuple[str, Sequence[int]]] = {}
        self._member_bytes = 0

    def __enter__(self) -> "SnapshotReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def nodes(self, selection: Selection) -> Iterator[Node]:
        """Yield the selected nodes in the manifest's order."""
        for node, _ in self._walk(selection, with_ancestors=False):
            yield node

    def find(self, path: bytes) -> EntryLine | None:
        """Return the line of one entry that is no directory."""
        folder, _, name = path.rpartition(b"/")
        text, folder_text = to_text(name), to_text(folder or b"/")
        inside = False
        for block in self._blocks():
            if isinstance(block.head, DirLine):
                if inside:
                    return None
                inside = block.head.dir == folder_text
            if inside:
                for line in block.lines():
                    if line.name == text:
                        return line
        return None

    def content(self, line: EntryLine) -> Iterator[bytes]:
        """Yield the content of a file, holes as zeros, and verify it.

        Raises:
            DamagedRepository: If it is missing or altered.
        """
        position = 0
        for offset, piece in self.pieces(line):
            yield from _zeros(offset - position)
            yield bytes(piece)
            position = offset + len(piece)
        yield from _zeros(line.size - position)

    def pieces(self, line: EntryLine) -> Iterator[tuple[int, memoryview]]:
        """Yield the stored content of a file with the offset of each piece; verified at the end.

        Raises:
            DamagedRepository: If it is missing or altered; nothing that was yielded is to be
                trusted then.
            WrongPassword: If no identity opens what it is sealed in.
        """
        hasher = sha256()
        try:
            for offset, piece in self._stored_pieces(line):
                hasher.update(piece)
                yield offset, piece
        except WrongPassword as error:
            # An altered envelope looks as if it were sealed to others.
            if not self._place.opens(self._record):
                raise
            raise DamagedRepository(f"the age envelope of '{line.name}' is damaged") from error
        if hasher.hexdigest() != line.sha256:
            raise DamagedRepository(f"the content of '{line.name}' differs from what was backed up")

    def _stored_pieces(self, line: EntryLine) -> Iterable[tuple[int, memoryview]]:
        if line.at is None:
            return ()
        number, position = line.at
        reader = self._reader(number)
        piece = reader.piece(position, line.size) if line.extents is None else None
        if piece is not None:
            return ((0, piece),)
        return self._pieces_from(reader, position, line)

    @staticmethod
    def _pieces_from(
        reader: ArchiveReader, position: int, line: EntryLine
    ) -> Iterator[tuple[int, memoryview]]:
        for extent in line.extents if line.extents is not None else (Extent(0, line.size),):
            offset = extent.offset
            for piece in reader.pieces(position, extent.length_bytes):
                yield offset, piece
                offset += len(piece)
            position += extent.length_bytes

    def restore(self, target: Target, selection: Selection) -> None:
        """Write the selected nodes into ``target``: directories and files, then all the rest."""
        first_names: dict[_Inode, bytes] = {}
        self._restore_files(target, selection, first_names)
        target.links_follow()
        self._restore_links(target, selection, first_names)

    def _restore_files(
        self, target: Target, selection: Selection, first_names: dict[_Inode, bytes]
    ) -> None:
        cancel = self._place.surroundings.cancel
        for node, line in self._walk(selection, with_ancestors=True):
            cancel.check()
            if line is None:
                target.directory(node)
            elif node.kind is EntryKind.FILE and self._is_first(node, first_names):
                file = target.file(node)
                if file is not None:
                    self._write(file, line)

    def _restore_links(
        self, target: Target, selection: Selection, first_names: dict[_Inode, bytes]
    ) -> None:
        cancel = self._place.surroundings.cancel
        for node, line in self._walk(selection, with_ancestors=False, only_links=True):
            cancel.check()
            if line is None:
                continue
            if not self._is_first(node, first_names):
                target.link(node, first_names[_inode_of(node)])
            elif node.kind is not EntryKind.FILE:
                target.special(node)

    def verify(self, line: EntryLine) -> None:
        """Read a file's content and say nothing if it is whole.

        Raises:
            DamagedRepository: If it is missing or altered.
        """
        for _ in self.pieces(line):
            pass

    def lines(self) -> Iterator[tuple[Node, EntryLine]]:
        """Yield every entry that is no directory."""
        for node, line in self._walk(Everything(), with_ancestors=False):
            if line is not None:
                yield node, line

    def _write(self, file: TargetFile, line: EntryLine) -> None:
        try:
            with file:
                for offset, piece in self.pieces(line):
                    file.write_at(offset, piece)
                file.finish()
        except DamagedRepository:
            if line.at is not None and line.at[0] in self._members:
                self._place.damage.update(damaged={self._members[line.at[0]][0]})
        except EntryNotRestored:
            return  # the target has counted and reported it when the file was abandoned

    @staticmethod
    def _is_first(node: Node, first_names: dict[_Inode, bytes]) -> bool:
        if not node.is_hard_linked:
            return True
        return first_names.setdefault(_inode_of(node), node.path) == node.path

    def _walk(
        self, selection: Selection, *, with_ancestors: bool, only_links: bool = False
    ) -> Iterator[tuple[Node, EntryLine | None]]:
        pending = _Ancestors(is_wanted=with_ancestors)
        folder, last = b"/", b""
        enters = False
        for block in self._blocks():
            if isinstance(block.head, DirLine):
                node = node_of_directory(block.head)
                folder = last = node.path
                enters = selection.enters(folder)
                pending.enter(node)
                if selection.wants(node):
                    yield from pending.flush()
                    if not with_ancestors:
                        yield node, None
            if enters and not (only_links and not _has_links(block)):
                for node, line in nodes_of(folder, block, last):
                    last = node.path
                    if selection.wants(node):
                        yield from pending.flush()
                        yield node, line

    def _blocks(self) -> Iterator[Block]:
        with self._place.open_manifest(self._record) as stream:
            reader = Reader(stream, name=self._record.manifest.name)
            reader.require_archives(
                self._record.archives, is_sealed=not self._place.envelope.is_open
            )
            self._members = reader.archives
            self._member_bytes = reader.member_bytes
            yield from reader.blocks()

    def _reader(self, number: int) -> ArchiveReader:
        reader = self._readers.get(number)
        if reader is None:
            if number not in self._members:
                raise DamagedRepository(
                    f"{self._record.manifest.name} is damaged: it knows no archive {number}"
                )
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._place.surroundings.threads, "gunzip")
                self._stack.callback(self._pool.shutdown, cancel_futures=True)
            name, sizes = self._members[number]
            reader = ArchiveReader(
                self._place,
                name,
                sizes,
                member_bytes=self._member_bytes,
                pool=self._pool,
                ahead=self._ahead,
            )
            self._stack.callback(reader.close)
            self._readers[number] = reader
        return reader


@final
class _Ancestors:
    """Directories on the way to what is wanted, handed out once and only if something below is."""

    def __init__(self, *, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._waiting: list[Node] = []

    def enter(self, node: Node) -> None:
        """Go on to the next directory of the walk."""
        if self._is_wanted:
            while self._waiting and not is_below(node.path, self._waiting[-1].path):
                self._waiting.pop()
            self._waiting.append(node)

    def flush(self) -> Iterable[tuple[Node, None]]:
        """Return the directories that lead to where the walk is, as far as they were not yet."""
        if not self._waiting:
            return ()
        waiting, self._waiting = self._waiting, []
        return [(node, None) for node in waiting]


def _inode_of(node: Node) -> _Inode:
    """Return what the names of one file have in common.

    The change time and the hash are in it because a number may have been given anew, or the file
    written to, between the moments at which two entries with that number were recorded.
    """
    return (node.device, node.inode, node.ctime_ns, node.sha256)


def _has_links(block: Block) -> bool:
    return _LINKS_MARK in block.raw or any(mark in block.raw for mark in _SPECIAL_MARKS)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)
