"""Decides in which order what a window of files needs is read: pack by pack, from front to back.

A blob that several files have, or one file several times, is read and decoded once for all of them.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.format.layout import ID_BYTES, SEAL_BYTES, BlobKind
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import Rows
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.reading.wanted import Wanted
from backapp_plugins.archivers.restic.restore.file_making import MOST_BYTES
from backapp_plugins.archivers.restic.restore.window import FileAhead

JOB_BYTES = 4 << 20
JOB_FILES = 48
"""A job has about so many files open at most, unless a single blob is needed by more."""
HANDED_OUT_FILES = 96
"""So many are in a job for a worker, which has one of them open at a time."""
_MOST_USES = 32
"""A blob that more files need is not for workers, so that a job has a bounded number of those."""

Use: TypeAlias = tuple[FileAhead, int]
"""A file, and the offset in it at which a blob stands."""


class Job(NamedTuple):
    """Blobs of one pack that one thread reads and writes to where they belong."""

    pack_id: bytes
    blobs: list[Wanted]
    """In the order of their offsets."""
    uses: list[list[Use]]
    """Of each blob."""

    def pieces(self) -> "Iterator[Job]":
        """Yield the same as jobs with `JOB_FILES` files at most, or a single blob."""
        first = files = 0
        for at, uses in enumerate(self.uses):
            if files and files + len(uses) > JOB_FILES:
                yield Job(self.pack_id, self.blobs[first:at], self.uses[first:at])
                first, files = at, 0
            files += len(uses)
        yield Job(self.pack_id, self.blobs[first:], self.uses[first:])


@final
class Plan:
    """The content of some files, and where all of it is."""

    def __init__(self, table: Table, files: Sequence[FileAhead]) -> None:
        """Look everything up; files that cannot be restored are given a ``reason``."""
        self._table = table
        self._files = files
        counts = np.array([len(file.ids) // ID_BYTES for file in files], np.int64)
        rows = table.rows_of(BlobKind.DATA, b"".join([file.ids for file in files]))
        owner = np.repeat(np.arange(len(files)), counts)
        sizes = content_bytes(table, rows)
        # Where each piece would begin if all files were one; and the files in that.
        begin = np.cumsum(sizes) - sizes
        file_bytes = np.bincount(owner, sizes, len(files)).astype(np.int64)
        file_begin = np.cumsum(file_bytes) - file_bytes
        is_whole = self._judge(rows, owner, file_bytes)
        kept = is_whole[owner]
        self._sort(rows[kept], owner[kept], (begin - file_begin[owner])[kept])

    @property
    def length_bytes(self) -> NDArray[np.int64]:
        """Sealed length of each distinct blob, in the order of reading."""
        return self._table.columns.length[self._rows].astype(np.int64)

    @property
    def uses(self) -> NDArray[np.int64]:
        """How often each of these blobs is needed."""
        return np.diff(self._first_use)

    @property
    def is_handed_out(self) -> Flags:
        """Whether each of these blobs is the whole content of all files that need it, and small."""
        columns, rows = self._table.columns, self._rows
        if not len(rows):
            return np.zeros(0, np.bool_)
        is_spread = np.array([file.is_spread for file in self._files], np.bool_)
        is_part = np.logical_or.reduceat(is_spread[self._owners], self._first_use[:-1])
        is_large = np.maximum(columns.length[rows], columns.uncompressed[rows]) > MOST_BYTES
        return ~(is_part | is_large | (self.uses > _MOST_USES))

    def _judge(self, rows: Rows, owner: Rows, file_bytes: NDArray[np.int64]) -> Flags:
        """Return of each file whether it can be restored, as far as the index knows."""
        files = self._files
        claimed_bytes = np.array([file.node.size_bytes for file in files], np.int64)
        is_whole: Flags = file_bytes == claimed_bytes
        for number in np.flatnonzero(~is_whole).tolist():
            files[
                number
            ].reason = (
                f"its content has {file_bytes[number]} bytes instead of {claimed_bytes[number]}"
            )
        is_missing = rows < 0
        if is_missing.any():
            first = np.searchsorted(owner, owner)  # the first piece of the file of each piece
            for place in np.flatnonzero(is_missing).tolist():
                file, at = files[int(owner[place])], int(place - first[place]) * ID_BYTES
                blob_id = file.ids[at : at + ID_BYTES].hex()
                file.reason = f"data blob {blob_id} is missing: no index object names it"
            is_whole[owner[is_missing]] = False
        return is_whole

    def jobs(self, is_wanted: Flags, files: int = JOB_FILES) -> Iterator[Job]:
        """Yield what to do for some of the blobs, which are numbered as in `length_bytes`.

        Each job has about so many ``files``, unless a single blob is needed by more.
        """
        columns = self._table.columns
        chosen = np.flatnonzero(is_wanted)
        rows = self._rows[chosen]
        starts, ends = self._first_use[chosen], self._first_use[chosen + 1]
        facts = (columns.blob_id, columns.offset, columns.length, columns.uncompressed)
        for low, high in pairwise(self._cuts(rows, ends - starts, files)):
            some = rows[low:high]
            first, last = starts[low:high].tolist(), ends[low:high].tolist()
            begin, end = first[0], last[-1]
            owners = map(self._files.__getitem__, self._owners[begin:end])
            uses = list(zip(owners, self._offsets[begin:end], strict=True))
            yield Job(
                columns.pack_id[columns.pack_number[some[0]]].tobytes(),
                list(map(Wanted, *(fact[some].tolist() for fact in facts))),
                [uses[one - begin : other - begin] for one, other in zip(first, last, strict=True)],
            )

    def _cuts(self, rows: Rows, uses: Rows, files: int) -> list[int]:
        """Return where jobs begin, and the end of the last one."""
        if not len(rows):
            return []
        columns = self._table.columns
        pack_number = columns.pack_number[rows]
        amount = np.cumsum(columns.length[rows], dtype=np.int64) // JOB_BYTES
        opened = np.cumsum(uses) // files
        is_new = np.ones(len(rows), np.bool_)
        is_new[1:] = (
            (pack_number[1:] != pack_number[:-1])
            | (amount[1:] != amount[:-1])
            | (opened[1:] != opened[:-1])
        )
        return [*np.flatnonzero(is_new).tolist(), len(rows)]

    def _sort(self, rows: Rows, owner: Rows, offset: Rows) -> None:
        """Put distinct blobs into the order of reading, and their uses into the same."""
        columns = self._table.columns
        rows, first_use, blob = np.unique(rows, return_index=True, return_inverse=True)
        _, pack = np.unique(columns.pack_number[rows], return_inverse=True)
        pack_first_use = np.full(len(rows), len(blob))
        np.minimum.at(pack_first_use, pack, first_use)
        order = np.lexsort((columns.offset[rows], pack_first_use[pack]))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        uses = np.argsort(rank[blob], kind="stable")
        self._rows = rows[order]
        self._owners: list[int] = owner[uses].tolist()
        self._offsets: list[int] = offset[uses].tolist()
        self._first_use = np.concatenate([[0], np.cumsum(np.bincount(rank[blob]))])


def content_bytes(table: Table, rows: Rows) -> NDArray[np.int64]:
    """Return how long the contents of blobs are, 0 where the row is -1."""
    columns = table.columns
    sizes = np.zeros(len(rows), np.int64)
    known = rows[rows >= 0]
    uncompressed = columns.uncompressed[known].astype(np.int64)
    plain = columns.length[known].astype(np.int64) - SEAL_BYTES
    sizes[rows >= 0] = np.where(uncompressed > 0, uncompressed, plain)
    return sizes
