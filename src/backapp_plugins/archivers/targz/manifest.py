"""A manifest: every entry of one snapshot as JSON lines, gzip-compressed in members.

::

    {"manifest":1,"member_bytes":4194304}
    {"archive":0,"name":"archives/….tar.gz","members":[812345,799120]}
    {"dir":"/home","mode":493,…,"entries":2,"bytes":431,"seen":"…"}
    {"name":"a.txt","type":"file",…,"sha256":"…","at":[0,1536]}
    {"name":"b","type":"symlink",…,"target":"a.txt"}
    {"dir":"/home/me",…}
    {"end":true,"dirs":2}

``members`` are compressed sizes, 4,096 a line. ``entries`` lines of ``bytes`` bytes together follow
a directory. Directories come in scan order. One with very many entries goes on in blocks that begin
with ``{"more":…}``. ``at`` is the number of an archive and the position of the content in its
uncompressed tar stream. ``seen`` is a fingerprint of all that a scan saw of the directory: while it
stays the same, the next backup copies the block without looking into it.
"""

from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Annotated, Any

import msgspec

from backapp_core.plugin_api import (
    DamagedRepository,
    EntryKind,
    Extent,
    Node,
    from_text,
    path_key,
    to_line,
    to_text,
)
from backapp_plugins.archivers.targz.layout import ArchiveRef

FORMAT_VERSION = 1
ENTRIES_PER_BLOCK = 16_384
"""A directory with more goes on in further blocks.

So that one of a million entries needs no gigabyte.
"""
BYTES_PER_BLOCK = 16 << 20
"""A block ends, too, once attributes, link targets and extents make it so long."""
MEMBERS_PER_LINE = 4096
_LONGEST_LINE_BYTES = 64 << 20
_LONGEST_BLOCK_BYTES = 128 << 20
_LARGEST_MEMBER_BYTES = 64 << 20
MOST_MEMBERS = 1 << 24
"""64 TiB of content in one archive."""
_MOST_ARCHIVES = 100_000
_SMALLEST_MEMBER_BYTES = 20
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_LARGEST_TIME_NS = 2**62 * 1_000_000_000
"""What a system's clock can say, in seconds, and more than msgspec's bounds can."""
_Owner = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]


class Facts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What directories and other entries have in common."""

    mode: _Mode
    uid: _Owner
    gid: _Owner
    mtime: int
    ctime: int
    ino: int
    dev: int
    user: str = ""
    group: str = ""
    xattrs: dict[str, str] | None = None
    """Names as text, values in base64."""


class DirLine(Facts, omit_defaults=True, kw_only=True):
    """Head of a directory's first block."""

    dir: str
    entries: _Count = 0
    bytes: _Count = 0
    files: _Count = 0
    """Regular files of the block, and the sum of their sizes."""
    file_bytes: int = 0
    archives: tuple[int, ...] = ()
    """Numbers of the archives that the block's entries are in, ascending."""
    links: int = 1
    seen: str = ""
    """Empty if the entries must be looked at one by one next time."""


class MoreLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Head of a further block of the same directory."""

    more: str
    entries: _Count = 0
    bytes: _Count = 0
    files: _Count = 0
    file_bytes: int = 0
    archives: tuple[int, ...] = ()


class EntryLine(Facts, omit_defaults=True, kw_only=True):
    """Anything but a directory."""

    name: str
    type: str
    size: _Count = 0
    links: int = 1
    target: str = ""
    rdev: _Count = 0
    sha256: str = ""
    at: tuple[_Count, _Count] | None = None
    """Archive number and position; None for empty files and for what has no content."""
    extents: tuple[Extent, ...] | None = None
    flags: tuple[str, ...] = ()
    racy: bool = False
    """Changed so shortly before it was read that another change would have left the same times."""


class HeadLine(msgspec.Struct):
    """First line."""

    manifest: int
    member_bytes: int


class ArchiveLine(msgspec.Struct):
    """Compressed sizes of an archive's members, continued in further lines of the same number."""

    archive: _Count
    name: str
    members: list[_Count]


class EndLine(msgspec.Struct):
    """Last line; without it a manifest is cut."""

    end: bool
    dirs: int


_UNDECODABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_entry_decoder = msgspec.json.Decoder(EntryLine)
_dir_decoder = msgspec.json.Decoder(DirLine)
_more_decoder = msgspec.json.Decoder(MoreLine)


class Block:
    """A directory's head and the undecoded lines of its entries.

    ``head`` is a `MoreLine` for all but the first block.
    """

    __slots__ = ("head", "raw", "raw_head")

    def __init__(self, head: DirLine | MoreLine, raw_head: bytes, raw: bytes) -> None:
        self.head = head
        self.raw_head = raw_head
        self.raw = raw

    def lines(self) -> list[EntryLine]:
        """Decode the entries.

        Raises:
            DamagedRepository: If one makes no sense.
        """
        count = self.head.entries
        # Counted first: a million lines where ten are promised are not turned into objects.
        if count > ENTRIES_PER_BLOCK or self.raw.count(b"\n") != count:
            raise DamagedRepository(
                "a manifest is damaged: a directory has another number of entries than it says"
            )
        try:
            entries: list[EntryLine] = _entry_decoder.decode_lines(self.raw)
        except _UNDECODABLE as error:
            raise DamagedRepository(f"a manifest is damaged: {error}") from error
        return entries


def encode_block(head: DirLine | MoreLine, lines: Sequence[EntryLine]) -> bytes:
    """Return the bytes of one block; sets the head's counts."""
    raw: bytes = _encoder.encode_lines(lines)
    head.entries = len(lines)
    head.bytes = len(raw)
    files = [line.size for line in lines if line.type == "file"]
    head.files = len(files)
    head.file_bytes = sum(files)
    head.archives = tuple(sorted({line.at[0] for line in lines if line.at is not None}))
    return b"%b\n%b" % (_encoder.encode(head), raw)


def encode_head(archives: Iterable[tuple[int, str, Sequence[int]]], *, member_bytes: int) -> bytes:
    """Return the lines that stand before the first directory."""
    lines: list[Any] = [HeadLine(FORMAT_VERSION, member_bytes)]
    for number, name, members in archives:
        lines.extend(
            ArchiveLine(number, name, list(members[start : start + MEMBERS_PER_LINE]))
            for start in range(0, max(len(members), 1), MEMBERS_PER_LINE)
        )
    return _encoder.encode_lines(lines)


def encode_end(directories: int) -> bytes:
    """Return the last line."""
    return _encoder.encode(EndLine(end=True, dirs=directories)) + b"\n"


class Reader:
    """Reads a manifest from its uncompressed bytes, block by block, in memory for one block."""

    def __init__(self, stream: IO[bytes], *, name: str) -> None:
        """Read the head.

        Raises:
            DamagedRepository: If it is no manifest of this format.
        """
        self._stream = stream
        self._name = name
        head = self._parse(self._line(), HeadLine)
        if head.manifest != FORMAT_VERSION:
            raise DamagedRepository(f"{name} is of the unknown version {head.manifest}")
        if not 0 < head.member_bytes <= _LARGEST_MEMBER_BYTES:
            raise self._damage(f"members cannot have {head.member_bytes} bytes")
        self.member_bytes = head.member_bytes
        self.archives: dict[int, tuple[str, array[int]]] = {}
        """Name and compressed member sizes by archive number."""
        self._next = self._line()
        while self._next.startswith(b'{"archive":'):
            line = self._parse(self._next, ArchiveLine)
            name, members = self.archives.setdefault(line.archive, (line.name, array("Q")))
            if name != line.name or len(members) % MEMBERS_PER_LINE or len(members) >= MOST_MEMBERS:
                raise self._damage(f"{line.name} has more members than it can have")
            members.extend(line.members)
            if len(self.archives) > _MOST_ARCHIVES:
                raise self._damage("there are more archives than a chain can have")
            self._next = self._line()

    def require_archives(self, refs: Iterable[ArchiveRef], *, is_sealed: bool) -> None:
        """Return if the manifest speaks of the archives that the snapshot's record names.

        Raises:
            DamagedRepository: If it names others, or member sizes that do not add up.
        """
        known = {ref.number: ref for ref in refs}
        for number, (name, sizes) in self.archives.items():
            ref = known.get(number)
            if ref is None or ref.name != name:
                raise self._damage(f"{name} is none of the snapshot's archives")
            if min(sizes, default=0) < _SMALLEST_MEMBER_BYTES or not (
                sum(sizes) < ref.size if is_sealed else sum(sizes) == ref.size
            ):
                raise self._damage(f"the members of {name} do not make up its size")

    def blocks(self) -> Iterator[Block]:
        """Yield every block in order.

        Raises:
            DamagedRepository: If the manifest is cut or makes no sense.
        """
        line = self._next
        directories = 0
        here: DirLine | None = None
        while not line.startswith(b'{"end":'):
            head: DirLine | MoreLine
            if line.startswith(b'{"more":'):
                head = self._further_head(line, here)
            else:
                head = here = self._first_head(line, here)
                directories += 1
            if head.bytes > _LONGEST_BLOCK_BYTES:
                raise self._damage("a directory is longer than one can be")
            raw = self._stream.read(head.bytes)
            if len(raw) != head.bytes:
                raise self._damage("it is cut")
            yield Block(head, line, raw)
            line = self._line()
        if self._parse(line, EndLine).dirs != directories or self._stream.read(1):
            raise self._damage("it does not end where it should")

    def _first_head(self, line: bytes, last: DirLine | None) -> DirLine:
        head: DirLine = self._decode(line, _dir_decoder)
        path = path_of(head.dir)
        if last is not None and path_key(path) <= path_key(path_of(last.dir)):
            raise self._damage(f"'{head.dir}' does not stand in its order")
        return head

    def _further_head(self, line: bytes, here: DirLine | None) -> MoreLine:
        head: MoreLine = self._decode(line, _more_decoder)
        if here is None or head.more != here.dir:
            raise self._damage(f"'{head.more}' goes on where it did not begin")
        return head

    def _line(self) -> bytes:
        line = self._stream.readline(_LONGEST_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise self._damage("it is cut")
        return line

    def _parse(self, line: bytes, kind: Any) -> Any:
        return self._decode(line, msgspec.json.Decoder(kind))

    def _decode(self, line: bytes, decoder: Any) -> Any:
        try:
            return decoder.decode(line)
        except _UNDECODABLE as error:
            raise self._damage(" ".join(str(error).split())) from error

    def _damage(self, reason: str) -> DamagedRepository:
        return DamagedRepository(f"{self._name} is damaged: {reason}")


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


def node_of_entry(folder: bytes, line: EntryLine) -> Node:
    """Return the noun for an entry of the directory ``folder``.

    Raises:
        DamagedRepository: If it can be no such entry.
    """
    name = _bytes(line.name)
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
            f"a manifest is damaged: '{line.name}' in {to_text(folder)} is no entry"
        )
    return Node(
        path=folder + name if folder == b"/" else b"%b/%b" % (folder, name),
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
    """Yield the entries of a block of the directory ``folder``; names come after ``after``.

    Raises:
        DamagedRepository: If they do not, or twice, or one makes no sense.
    """
    start = len(folder) + (folder != b"/")
    for line in block.lines():
        node = node_of_entry(folder, line)
        name = node.path[start:]
        if name <= after:
            raise DamagedRepository(
                f"a manifest is damaged: '{line.name}' in {to_text(folder)} "
                "does not stand in its order"
            )
        after = name
        yield node, line


def path_of(text: str) -> bytes:
    """Return the path of a directory.

    Raises:
        DamagedRepository: If it is none.
    """
    path = _bytes(text)
    if not path.startswith(b"/") or (path != b"/" and not is_safe_path(path)):
        raise DamagedRepository(f"a manifest is damaged: '{to_line(text)}' is no absolute path")
    return path


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
    target = _bytes(line.target)
    if b"\0" in target:
        raise DamagedRepository(f"a manifest is damaged: '{line.name}' points nowhere")
    return target


def _bytes(text: str) -> bytes:
    try:
        return from_text(text)
    except UnicodeError as error:
        raise DamagedRepository(f"a manifest is damaged: {error}") from error


def is_safe_path(path: bytes) -> bool:
    """Say whether an absolute path has only parts that name something below it."""
    return not any(part in {b"", b".", b".."} or b"\0" in part for part in path[1:].split(b"/"))


_NO_FLAGS: frozenset[str] = frozenset()
_KINDS = {kind.value: kind for kind in EntryKind if kind is not EntryKind.DIRECTORY}
