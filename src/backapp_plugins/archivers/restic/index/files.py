"""Index files: JSON that lists packs and their blobs, read into columns and written as restic does.

Rustic's ``packs_to_delete`` is read and written, too. What restic calls ``supersedes`` is passed
over, as by restic since 0.17: an older index file that is still there is merged like any other.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np

from backapp_plugins.archivers.restic.format.layout import (
    ID_BYTES,
    MAX_INDEX_BLOBS,
    SEAL_BYTES,
)
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.columns import Columns, new_column, no_columns
from backapp_plugins.archivers.restic.index.ids import ID, Ids

_MOST = 2**32 - 1
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
    packs: list[_Pack] | None
    packs_to_delete: list[_Pack] | None = None


class _Written(msgspec.Struct, gc=False, omit_defaults=True):
    """The same on its way out, with packs that were encoded before."""

    packs: Sequence[msgspec.Raw]
    packs_to_delete: Sequence[msgspec.Raw] | None = None


_decoder = msgspec.json.Decoder(_Document)
_encoder = msgspec.json.Encoder()


def decode_index(document: bytes, file_id: bytes) -> Columns:
    """Return what the index file ``file_id`` says, data before trees.

    Raises:
        IndexBroken: If it is no index file, or names lengths and offsets that no blob can have.
    """
    try:
        decoded = _decoder.decode(document)
        kept, marked = decoded.packs or [], decoded.packs_to_delete or []
        packs = [*kept, *marked]
        blobs = [blob for pack in packs for blob in pack.blobs or ()]
        blob_ids = _ids_of(blobs)
        columns = _columns_of_packs(packs, len(kept))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise IndexBroken(" ".join(str(error).split())) from error
    columns.file_id = np.frombuffer(file_id, ID)
    is_tree = np.array([blob.type == "tree" for blob in blobs], np.bool_)
    columns.tree_start = len(blobs) - int(np.count_nonzero(is_tree))
    order = np.argsort(is_tree, kind="stable")
    pack_number = np.repeat(columns.naming_pack, [len(pack.blobs or ()) for pack in packs])
    for name, values in (
        ("blob_id", blob_ids),
        ("pack_number", pack_number),
        ("offset", np.array([blob.offset for blob in blobs], np.uint32)),
        ("length", np.array([blob.length for blob in blobs], np.uint32)),
        ("uncompressed", np.array([blob.uncompressed_length for blob in blobs], np.uint32)),
    ):
        column = new_column(name, len(blobs))
        column[:] = values[order]
        setattr(columns, name, column)
    return columns


def encode_index(
    packs: Iterable[tuple[bytes, Sequence[PackEntry]]], marked: Iterable[MarkedPack] = ()
) -> bytes:
    """Return an index file of packs with their blobs, byte for byte as restic writes it.

    Args:
        packs: Id and blobs of each pack.
        marked: Packs to be deleted later; restic knows nothing of them.
    """
    return join_packs([encode_pack(*pack) for pack in packs], [encode_pack(*one) for one in marked])


def encode_pack(
    pack_id: bytes,
    entries: Iterable[PackEntry],
    noted_at: datetime | None = None,
    size_bytes: int | None = None,
) -> msgspec.Raw:
    """Return what an index file says of one pack; in that form it takes the least memory."""
    return msgspec.Raw(_encoder.encode(_to_pack(pack_id, entries, noted_at, size_bytes)))


def join_packs(packs: Sequence[msgspec.Raw], marked: Sequence[msgspec.Raw] = ()) -> bytes:
    """Return the index file that these packs make up."""
    return _encoder.encode(_Written(packs, marked or None)) + b"\n"


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
    columns.pack_id = _ids_of(packs)
    columns.pack_noted_at = np.array([_to_utc(pack.time) for pack in packs], "datetime64[us]")
    columns.pack_claimed_bytes = np.array([pack.size or 0 for pack in packs], np.uint32)
    columns.naming_pack = np.arange(len(packs), dtype=np.uint32)
    columns.naming_file = np.zeros(len(packs), np.uint32)
    columns.pack_is_marked = columns.naming_pack >= marked_from
    return columns


def _ids_of(named: Sequence[_Blob] | Sequence[_Pack]) -> Ids:
    ids = bytes.fromhex("".join([one.id for one in named]))
    if len(ids) != ID_BYTES * len(named):
        raise ValueError("an id has characters that are no hexadecimal digits")
    return np.frombuffer(ids, ID)


def _to_utc(moment: datetime | None) -> np.datetime64:
    if moment is None:
        return np.datetime64("NaT", "us")
    return np.datetime64((moment - _EPOCH) // _MICROSECOND, "us")
