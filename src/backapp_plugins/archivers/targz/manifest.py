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

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Annotated, Any

import msgspec

from backapp_core.plugin_api import (
    DamagedRepository,
    Extent,
    from_text,
    path_key,
    to_line,
)
from backapp_plugins.archivers.targz.layout import ArchiveRef

FORMAT_VERSION = 1
ENTRIES_PER_BLOCK = 16_384
"""A directory with more goes on in further blocks; one of a million would need a gigabyte."""
BYTES_PER_BLOCK = 16 << 20
"""A block ends, too, once attributes, link targets and extents make it so long."""
MEMBERS_PER_LINE = 4096
_EXTENT_BYTES = 25
_LONGEST_LINE_BYTES = 64 << 20
_LONGEST_BLOCK_BYTES = 128 << 20
_LARGEST_MEMBER_BYTES = 64 << 20
MOST_MEMBERS = 1 << 24
"""64 TiB of content in one archive."""
_MOST_ARCHIVES = 100_000
_SMALLEST_MEMBER_BYTES = 20
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
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

    __slots__ = ("head", "path", "raw", "raw_head")

    def __init__(
        self, head: DirLine | MoreLine, path: bytes, *, raw_head: bytes, raw: bytes
    ) -> None:
        self.head = head
        self.path = path
        """What the head calls its directory, in bytes."""
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


def weight_of(line: EntryLine) -> int:
    """Return about how many bytes the parts of a line take that may be very long."""
    attributes = sum(len(name) + len(value) for name, value in (line.xattrs or {}).items())
    return attributes + _EXTENT_BYTES * len(line.extents or ()) + len(line.target)


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
        path, key = b"", list[bytes]()
        while not line.startswith(b'{"end":'):
            head: DirLine | MoreLine
            if line.startswith(b'{"more":'):
                head = self._further_head(line, here)
            else:
                head = here = self._first_head(line)
                path = path_of(here.dir)
                before, key = key, path_key(path)
                if key <= before:
                    raise self._damage(f"'{here.dir}' does not stand in its order")
                directories += 1
            if head.bytes > _LONGEST_BLOCK_BYTES:
                raise self._damage("a directory is longer than one can be")
            raw = self._stream.read(head.bytes)
            if len(raw) != head.bytes:
                raise self._damage("it is cut")
            yield Block(head, path, raw_head=line, raw=raw)
            line = self._line()
        if self._parse(line, EndLine).dirs != directories or self._stream.read(1):
            raise self._damage("it does not end where it should")

    def _first_head(self, line: bytes) -> DirLine:
        head: DirLine = self._decode(line, _dir_decoder)
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


def path_of(text: str) -> bytes:
    """Return the path of a directory.

    Raises:
        DamagedRepository: If it is none.
    """
    path = bytes_of(text)
    if not path.startswith(b"/") or (path != b"/" and _has_unsafe_part(path)):
        raise DamagedRepository(f"a manifest is damaged: '{to_line(text)}' is no absolute path")
    return path


def bytes_of(text: str) -> bytes:
    """Return the bytes that a name or path stands for.

    Raises:
        DamagedRepository: If it stands for none.
    """
    try:
        return from_text(text)
    except UnicodeError as error:
        raise DamagedRepository(f"a manifest is damaged: {error}") from error


_has_unsafe_part = re.compile(rb"\0|/\.{0,2}(?:/|\Z)").search
"""Finds a part of an absolute path that names nothing below it: an empty one, a dot, two dots."""
