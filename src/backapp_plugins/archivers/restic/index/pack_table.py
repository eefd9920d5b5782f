"""Packs as the index has them: sizes, contents, and which files name them; for check and prune."""

from datetime import UTC
from typing import final

import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.format.layout import SEAL_BYTES, BlobKind
from backapp_plugins.archivers.restic.format.packs import (
    COMPRESSED_ENTRY_BYTES,
    PLAIN_ENTRY_BYTES,
    TRAILER_BYTES,
    PackEntry,
)
from backapp_plugins.archivers.restic.index.files import MarkedPack
from backapp_plugins.archivers.restic.index.ids import Numbers
from backapp_plugins.archivers.restic.index.table import Table

_SLAB = 1 << 18
_KINDS = tuple(BlobKind)


@final
class PackTable:
    """The packs of a table, by the numbers that its rows have for them.

    Takes 4 bytes per blob, and a second or two to make for some millions.
    """

    def __init__(self, table: Table) -> None:
        columns = table.columns
        count = len(columns.pack_id)
        self.table = table
        self.size_bytes: NDArray[np.int64] = np.full(count, SEAL_BYTES + TRAILER_BYTES, np.int64)
        """Size of each pack, as it follows from its blobs."""
        self.blobs: NDArray[np.int64] = np.zeros((len(_KINDS), count), np.int64)
        """How many blobs of each kind are in each pack."""
        for at in range(0, len(table), _SLAB):
            slab = slice(at, at + _SLAB)
            entry = np.where(columns.uncompressed[slab], COMPRESSED_ENTRY_BYTES, PLAIN_ENTRY_BYTES)
            parts = np.bincount(columns.pack_number[slab], columns.length[slab] + entry, count)
            self.size_bytes += parts.astype(np.int64)  # exact: floats hold integers up to 2**53
        for kind in BlobKind:
            numbers = columns.pack_number[columns.rows_of_kind(kind)]
            self.blobs[kind] = np.bincount(numbers, minlength=count)
        places = (columns.pack_number.astype(np.uint64) << np.uint64(32)) | columns.offset
        self.rows: Numbers = np.argsort(places, kind="stable").astype(np.uint32)
        """All rows, pack by pack in the order of offsets."""
        self.starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(self.blobs.sum(axis=0))])
        """Where the rows of each pack begin among those; one more for the end."""

    def __len__(self) -> int:
        """How many packs there are."""
        return len(self.size_bytes)

    def pack_id(self, number: int) -> bytes:
        """Return the id of a pack."""
        return bytes(self.table.columns.pack_id[number])

    def rows_of(self, number: int) -> Numbers:
        """Return the rows of a pack's blobs in the order of offsets."""
        return self.rows[self.starts[number] : self.starts[number + 1]]

    def entries(self, number: int) -> list[PackEntry]:
        """Return the blobs of a pack in the order of offsets."""
        columns = self.table.columns
        rows = self.rows_of(number)
        is_tree: list[bool] = (rows >= columns.tree_start).tolist()
        kinds = [_KINDS[claim] for claim in is_tree]
        facts = (columns.blob_id, columns.offset, columns.length, columns.uncompressed)
        return list(map(PackEntry, kinds, *(fact[rows].tolist() for fact in facts)))

    def marked(self, number: int) -> MarkedPack:
        """Return a pack with what is known of its mark, to be written to an index file again."""
        columns = self.table.columns
        noted_at = columns.pack_noted_at[number].item()
        return MarkedPack(
            self.pack_id(number),
            self.entries(number),
            noted_at and noted_at.replace(tzinfo=UTC),
            int(columns.pack_claimed_bytes[number]) or None,
        )

    def files_naming(self, number: int) -> list[bytes]:
        """Return the ids of the index files that name a pack."""
        columns = self.table.columns
        files: list[bytes] = columns.file_id[
            columns.naming_file[columns.naming_pack == number]
        ].tolist()
        return files
