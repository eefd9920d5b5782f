"""Index files: JSON that lists packs and their blobs, read into columns and written as restic does.

Rustic's ``packs_to_delete`` is read and written, too. What restic calls ``supersedes`` is passed
over, as by restic since 0.17: an older index file that is still there is merged like any other.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Annotated, Literal, NamedTuple, TypeAlias, final

import msgspec
import numpy as np
import zstandard

from backapp_core.plugin_api import DamagedRepository
from backapp_plugins.archivers.restic.format.blobs import altered_here
from backapp_plugins.archivers.restic.format.layout import (
    ID_BYTES,
    MAX_INDEX_BLOBS,
    SEAL_BYTES,
)
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.format.unpacked import Pieces
from backapp_plugins.archivers.restic.index.columns import Columns, new_column, no_columns
from backapp_plugins.archivers.restic.index.ids import ID

_MOST = 2**32 - 1
_BEFORE_PACKS = b'{"packs":['
_AFTER_PACKS = b"]}\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=2 * ID_BYTES, max_length=2 * ID_BYTES)]
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
_Length: TypeAlias = Annotated[int, msgspec.Meta(ge=SEAL_BYTES, le=_MOST)]
_Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
_KindName: TypeAlias = Literal["data", "tree"]
_KIND_NAMES: tuple[_KindName, ...] = ("data", "tree")


class IndexBroken(ValueError):
    """What should be an index file is none."""


class MarkedPack(NamedTuple):
    """A pack that is to be deleted some time after it was marked, unless a blob of it is needed."""

    pack_id: bytes
    entries: Sequence[PackEntry]
    marked_at: datetime | None
    size_bytes: int | None = None
    """Said of packs whose blobs nobody knows."""


class _Blob(msgspec.Struct, gc=False, omit_defaults=True):
    id: _Id
    type: _KindName
    offset: _Number
    length: _Length
    uncompressed_length: _Number = 0


class _Pack(msgspec.Struct, gc=False, omit_defaults=True):
    id: _Id
    blobs: list[_Blob] | None
    time: _Time | None = None
    size: _Number | None = None


class _Document(msgspec.Struct, gc=False, omit_defaults=True):
    """What an index file holds; packs as they stand in it, since as objects they are many."""

    packs: list[msgspec.Raw] | None
    packs_to_delete: list[msgspec.Raw] | None = None


class _Written(msgspec.Struct, gc=False, omit_defaults=True):
    """The same on its way out, with packs that were encoded before."""

    packs: Sequence[msgspec.Raw]
    packs_to_delete: Sequence[msgspec.Raw] | None = None


_decode_document = msgspec.json.Decoder(_Document).decode
_decode_pack = msgspec.json.Decoder(_Pack).decode
_encoder = msgspec.json.Encoder()


def decode_index(document: bytes, file_id: bytes) -> Columns:
    """Return what the index file ``file_id`` says, data before trees.

    Raises:
        IndexBroken: If it is no index file, or names lengths and offsets that no blob can have.
    """
    try:
        decoded = _decode_document(document)
        kept, marked = decoded.packs or [], decoded.packs_to_delete or []
        packs: list[_Pack] = []
        rows = _Rows()
        for raw in chain(kept, marked):
            pack = _decode_pack(raw)
            rows.add(pack.blobs or ())
            pack.blobs = None
            packs.append(pack)
        columns = _columns_of_packs(packs, len(kept))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise IndexBroken(" ".join(str(error).split())) from error
    columns.file_id = np.frombuffer(file_id, ID)
    is_tree = np.frombuffer(rows.is_tree, np.bool_)
    columns.tree_start = len(is_tree) - int(np.count_nonzero(is_tree))
    order = np.argsort(is_tree, kind="stable")
    for name, values in (
        ("blob_id", np.frombuffer(rows.ids, ID)),
        ("pack_number", np.repeat(columns.naming_pack, rows.counts)),
        *((name, np.array(values, np.uint32)) for name, values in rows.numbers.items()),
    ):
        column = new_column(name, len(order))
        column[:] = values[order]
        setattr(columns, name, column)
    return columns


@final
class _Rows:
    """Blobs of one pack after another, without an object for each."""

    def __init__(self) -> None:
        self.ids = bytearray()
        self.is_tree = bytearray()
        self.numbers = {"offset": array("I"), "length": array("I"), "uncompressed": array("I")}
        self.counts: list[int] = []
        """How many each pack has."""

    def add(self, blobs: Sequence[_Blob]) -> None:
        self.ids += _hashes_of(blobs)
        self.is_tree += bytes([blob.type == "tree" for blob in blobs])
        offsets, lengths, uncompressed = self.numbers.values()
        offsets.extend([blob.offset for blob in blobs])
        lengths.extend([blob.length for blob in blobs])
        uncompressed.extend([blob.uncompressed_length for blob in blobs])
        self.counts.append(len(blobs))


def encode_index(
    packs: Iterable[tuple[bytes, Sequence[PackEntry]]], marked: Iterable[MarkedPack] = ()
) -> bytes:
    """Return an index file of packs with their blobs, byte for byte as restic writes it.

    Args:
        packs: Id and blobs of each pack.
        marked: Packs to be deleted later; restic knows nothing of them.
    """
    said = [encode_pack(*pack) for pack in packs]
    said_of_marked = [encode_pack(*one) for one in marked]
    return _encoder.encode(_Written(said, said_of_marked or None)) + b"\n"


def encode_pack(
    pack_id: bytes,
    entries: Iterable[PackEntry],
    noted_at: datetime | None = None,
    size_bytes: int | None = None,
) -> msgspec.Raw:
    """Return what an index file says of one pack."""
    return msgspec.Raw(_encoder.encode(_to_pack(pack_id, entries, noted_at, size_bytes)))


@final
class WaitingPack:
    """What an index file is going to say of one pack, in a third of the memory."""

    __slots__ = ("_packed", "pack_id", "size_bytes")

    def __init__(self, pack_id: bytes, entries: Sequence[PackEntry]) -> None:
        self.pack_id = pack_id
        said = encode_pack(pack_id, entries)
        self.size_bytes = len(said)
        """Length of what is said."""
        # Ids are noise in hexadecimal digits, of which no level makes less.
        packed = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(said)
        # What the library returns keeps room for the worst case.
        self._packed = bytes(memoryview(packed))

    def said(self) -> bytes:
        """Return it.

        Raises:
            DamagedRepository: If it does not come back: memory or a library is broken here.
        """
        try:
            return zstandard.ZstdDecompressor().decompress(self._packed)
        except zstandard.ZstdError as error:
            raise DamagedRepository(altered_here("a part of the index")) from error


def index_of(packs: Sequence[WaitingPack]) -> Pieces:
    """Return the index file that some packs make up, as `encode_index` would.

    One pack of it at a time stands in memory.
    """
    commas = len(packs) - 1
    around = len(_BEFORE_PACKS) + commas + len(_AFTER_PACKS)
    size_bytes = around + sum(pack.size_bytes for pack in packs)

    def pieces() -> Iterator[bytes]:
        before = _BEFORE_PACKS
        for pack in packs:
            yield before
            yield pack.said()
            before = b","
        yield _AFTER_PACKS

    return Pieces(pieces, size_bytes)


def encode_indexes(
    packs: Iterable[tuple[bytes, Sequence[PackEntry]]], marked: Iterable[MarkedPack] = ()
) -> Iterator[bytes]:
    """Yield index files of at most `MAX_INDEX_BLOBS` blobs, or of one pack that has more."""
    batch: list[tuple[bytes, Sequence[PackEntry]]] = []
    batch_marked: list[MarkedPack] = []
    blobs = 0
    both: Iterable[tuple[bytes, Sequence[PackEntry]] | MarkedPack] = chain(packs, marked)
    for pack in both:
        count = len(pack.entries if isinstance(pack, MarkedPack) else pack[1])
        if blobs and blobs + count > MAX_INDEX_BLOBS:
            yield encode_index(batch, batch_marked)
            batch.clear()
            batch_marked.clear()
            blobs = 0
        if isinstance(pack, MarkedPack):
            batch_marked.append(pack)
        else:
            batch.append(pack)
        blobs += count
    if batch or batch_marked:
        yield encode_index(batch, batch_marked)


def _to_pack(
    pack_id: bytes,
    entries: Iterable[PackEntry],
    noted_at: datetime | None = None,
    size_bytes: int | None = None,
) -> _Pack:
    blobs = [
        _Blob(blob_id.hex(), _KIND_NAMES[kind], offset, length, uncompressed)
        for kind, blob_id, offset, length, uncompressed in entries
    ]
    return _Pack(pack_id.hex(), blobs, noted_at, size_bytes)


def _columns_of_packs(packs: Sequence[_Pack], marked_from: int) -> Columns:
    columns = no_columns()
    columns.pack_id = np.frombuffer(_hashes_of(packs), ID)
    columns.pack_noted_at = np.array([_to_utc(pack.time) for pack in packs], "datetime64[us]")
    columns.pack_claimed_bytes = np.array([pack.size or 0 for pack in packs], np.uint32)
    columns.naming_pack = np.arange(len(packs), dtype=np.uint32)
    columns.naming_file = np.zeros(len(packs), np.uint32)
    columns.pack_is_marked = columns.naming_pack >= marked_from
    return columns


def _hashes_of(named: Sequence[_Blob] | Sequence[_Pack]) -> bytes:
    ids = bytes.fromhex("".join([one.id for one in named]))
    if len(ids) != ID_BYTES * len(named):
        raise ValueError("an id has characters that are no hexadecimal digits")
    return ids


def _to_utc(moment: datetime | None) -> np.datetime64:
    if moment is None:
        return np.datetime64("NaT", "us")
    return np.datetime64((moment - _EPOCH) // _MICROSECOND, "us")
