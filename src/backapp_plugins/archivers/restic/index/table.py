"""Sorted columns with ways to find blobs in them: one at a time, or very many at once."""

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.index.columns import Columns
from backapp_plugins.archivers.restic.index.ids import Ids, Numbers, Rows, SortedIds, to_ids


class Location(NamedTuple):
    """Where a copy of a blob stands."""

    pack_id: bytes
    offset: int
    length: int
    """Sealed length in bytes."""
    uncompressed: int
    """Length of the content in bytes; 0 if it was not compressed."""


@final
class Table:
    """What is known of blobs and packs at one moment; nothing of it changes any more.

    Rows are numbered through both kinds, sorted by kind and id. Copies of a blob are neighbours,
    with those in packs marked for deletion last.
    """

    def __init__(self, columns: Columns, starts: Sequence[Numbers] | None = None) -> None:
        """Take columns as `merge` leaves them.

        Args:
            columns: The columns; they belong to the table from now on.
            starts: What the property was of the same columns before; counted anew if None.
        """
        self.columns = columns
        ids = [columns.blob_id[columns.rows_of_kind(kind)] for kind in BlobKind]
        ids.append(columns.pack_id)
        sorted_ids = [
            SortedIds(column, starts[at] if starts else None) for at, column in enumerate(ids)
        ]
        *self._blobs, self._packs = sorted_ids
        self._first_rows = (0, columns.tree_start)
        self._pack_number: memoryview[int] = columns.pack_number.data
        self._offset: memoryview[int] = columns.offset.data
        self._length: memoryview[int] = columns.length.data
        self._uncompressed: memoryview[int] = columns.uncompressed.data
        self._pack_is_marked: memoryview[int] = columns.pack_is_marked.data

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.columns.blob_id)

    @property
    def starts(self) -> tuple[Numbers, ...]:
        """What look-ups begin with, to be kept with the columns."""
        return tuple(ids.starts for ids in (*self._blobs, self._packs))

    @property
    def files(self) -> frozenset[bytes]:
        """Ids of the index files that are in here."""
        ids: list[bytes] = self.columns.file_id.tolist()
        return frozenset(ids)

    # --- one blob

    def has_live(self, kind: BlobKind, blob_id: bytes) -> bool:
        """Whether a pack that is not marked for deletion has the blob."""
        place = self._blobs[kind].find(blob_id)
        if place < 0:
            return False
        row = place + self._first_rows[kind]
        return not self._pack_is_marked[self._pack_number[row]]

    def locations(self, kind: BlobKind, blob_id: bytes) -> list[Location]:
        """Return all copies of a blob, those in packs marked for deletion last."""
        first = self._first_rows[kind]
        found: list[Location] = []
        for place in self._blobs[kind].copies(blob_id):
            row = place + first
            pack_id = self._packs.at(self._pack_number[row])
            found.append(
                Location(pack_id, self._offset[row], self._length[row], self._uncompressed[row])
            )
        return found

    def is_marked(self, pack_id: bytes) -> bool:
        """Whether the pack is here and marked for deletion."""
        number = self._packs.find(pack_id)
        return number >= 0 and bool(self._pack_is_marked[number])

    # --- many at once

    def rows_of(self, kind: BlobKind, blob_ids: bytes | Sequence[bytes] | Ids) -> Rows:
        """Return the first row of each blob, -1 for those that are not there."""
        places = self._blobs[kind].find_many(to_ids(blob_ids))
        return np.where(places < 0, -1, places + self._first_rows[kind])

    def packs_of(self, pack_ids: bytes | Sequence[bytes] | Ids) -> Rows:
        """Return the number of each pack, -1 for those that are not there."""
        return self._packs.find_many(to_ids(pack_ids))

    def kind(self) -> NDArray[np.uint8]:
        """Return the column of kinds, made anew."""
        return (np.arange(len(self)) >= self.columns.tree_start).astype(np.uint8)

    def is_copy(self) -> NDArray[np.bool_]:
        """Return of each row whether it is a further copy of the blob in the row before."""
        return np.concatenate([ids.is_repeated() for ids in self._blobs])

    def shares_packs_with(self, other: "Table") -> bool:
        """Whether a pack stands in both."""
        return bool((self.packs_of(other.columns.pack_id) >= 0).any())
