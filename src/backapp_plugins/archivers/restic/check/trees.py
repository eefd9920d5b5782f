"""Reads every tree that snapshots lead to, and holds what it names against the index."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from backapp_core.plugin_api import to_line
from backapp_plugins.archivers.restic.check.damage import Damage
from backapp_plugins.archivers.restic.check.progress import CheckProgress
from backapp_plugins.archivers.restic.check.tree import MOST_FAULTS, CheckedTree, check_tree
from backapp_plugins.archivers.restic.check.walk import TreeSource, walk
from backapp_plugins.archivers.restic.format.layout import ID_BYTES, SEAL_BYTES, BlobKind
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import Rows, distinct
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.spans import Span

_FILES_AT_ONCE: Final = 20_000
"""So many are looked up in the index together, which makes that cheap and memory bounded."""
_MOST_FAULTY: Final = 1000
_MOST_UNINDEXED: Final = 100_000
_NO_ROWS = np.empty(0, np.int64)


class _Seen(NamedTuple):
    """What the trees of a span led to."""

    trees: Rows
    data: Rows
    unindexed: set[tuple[BlobKind, bytes]]
    faults: dict[int, list[str]]
    files: int


@final
class TreeCheck:
    """One way through all trees of all snapshots."""

    def __init__(
        self, place: Place, damage: Damage, source: TreeSource, progress: CheckProgress
    ) -> None:
        self._place = place
        self._table = damage.table
        self._damage = damage
        self._is_doubtful: Flags = damage.is_bad
        self._source = source
        self._progress = progress
        self.is_needed: Flags = np.zeros(len(damage.table), np.bool_)
        """Of the first row of each blob, whether a snapshot needs it."""
        self.faults: dict[int, list[str]] = {}
        """What is wrong in trees that are whole, by their rows; of very many trees, in some."""
        self.unindexed: set[tuple[BlobKind, bytes]] = set()
        """Blobs that are needed and that no index object names, or some of very many."""

    def run(self, roots: Iterable[bytes], is_doubtful: Flags) -> None:
        """Meet everything below ``roots``.

        Args:
            roots: The trees of snapshots.
            is_doubtful: Of each row, whether what the index says of it proves nothing.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        self._is_doubtful = is_doubtful
        seen = self._gathering()
        seen.subtrees += roots
        first = self._take(seen.result())
        self.is_needed |= walk(self._place, self._table, first, self._look, self._take)

    def _look(self, span: Span) -> _Seen:
        seen = self._gathering()
        for row, data in self._source.read(span):
            if data is not None:
                seen.add(row, check_tree(data))
        return seen.result()

    def _gathering(self) -> "_Gathering":
        return _Gathering(self._table, self._is_doubtful)

    def _take(self, seen: _Seen) -> Rows:
        self.is_needed[seen.data] = True
        self._progress.files += seen.files
        self._progress.tell()
        if len(self.unindexed) < _MOST_UNINDEXED:
            self.unindexed |= seen.unindexed
        if len(self.faults) < _MOST_FAULTY:
            self.faults |= seen.faults
        return seen.trees


@final
class _Gathering:
    """What was found in some trees, put together for few and large operations."""

    def __init__(self, table: Table, is_doubtful: Flags) -> None:
        """Begin with nothing.

        Args:
            table: Where blobs are.
            is_doubtful: Of each row, whether what the index says of it proves nothing.
        """
        self._table = table
        self._is_doubtful = is_doubtful
        self.subtrees: list[bytes] = []
        self._trees: list[tuple[int, CheckedTree]] = []
        self._waiting = 0
        self._files = 0
        self._data: list[Rows] = [_NO_ROWS]
        self._unindexed: set[tuple[BlobKind, bytes]] = set()
        self._faults: dict[int, list[str]] = {}

    def add(self, row: int, tree: CheckedTree) -> None:
        """Take what the tree of a row says."""
        self.subtrees.append(tree.subtrees)
        if tree.faults:
            self._faults[row] = tree.faults
        if tree.names:
            self._trees.append((row, tree))
            self._waiting += len(tree.names)
            if self._waiting > _FILES_AT_ONCE:
                self._look_up_files()

    def result(self) -> _Seen:
        """Return everything."""
        self._look_up_files()
        return _Seen(
            self._rows(BlobKind.TREE, b"".join(self.subtrees)),
            distinct(np.concatenate(self._data)),
            self._unindexed,
            self._faults,
            self._files,
        )

    def _look_up_files(self) -> None:
        if not self._trees:
            return
        contents = b"".join([tree.contents for _, tree in self._trees])
        rows = self._table.rows_of(BlobKind.DATA, contents)
        is_known = rows >= 0
        self._note_unindexed(BlobKind.DATA, contents, rows)
        known = rows[is_known]
        self._data.append(distinct(known))
        columns = self._table.columns
        plain = columns.uncompressed[known]
        lengths = np.zeros(len(rows), np.int64)
        lengths[is_known] = np.where(plain, plain, columns.length[known] - SEAL_BYTES)
        held = self._sums(lengths)
        claimed = self._gathered(tree.sizes for _, tree in self._trees)
        is_unsure = ~is_known
        is_unsure[is_known] = self._is_doubtful[known]
        is_wrong = (held != claimed) & (self._sums(is_unsure) == 0)
        if is_wrong.any():
            self._note_wrong_sizes(np.flatnonzero(is_wrong).tolist(), held)
        self._files += self._waiting
        self._waiting = 0
        self._trees.clear()

    def _sums(self, values: NDArray[Any]) -> Rows:
        """Return the sum over the blobs of each file."""
        total = np.zeros(len(values) + 1, np.int64)
        np.cumsum(values, out=total[1:])
        ends = np.cumsum(self._gathered(tree.counts for _, tree in self._trees))
        sums: Rows = np.diff(total[ends], prepend=0)
        return sums

    def _gathered(self, numbers: Iterable[Sequence[int]]) -> Rows:
        """Return what each tree has of its files, one tree after another."""
        return np.fromiter(chain.from_iterable(numbers), np.int64, self._waiting)

    def _note_wrong_sizes(self, wrong: Sequence[int], held: Rows) -> None:
        rows = [row for row, tree in self._trees for _ in tree.names]
        names = list(chain.from_iterable(tree.names for _, tree in self._trees))
        sizes = list(chain.from_iterable(tree.sizes for _, tree in self._trees))
        for place in wrong:
            faults = self._faults.setdefault(rows[place], [])
            if len(faults) < MOST_FAULTS:
                faults.append(
                    f"'{to_line(names[place])}' claims {sizes[place]:,} bytes "
                    f"and has content of {int(held[place]):,}"
                )

    def _rows(self, kind: BlobKind, blob_ids: bytes) -> Rows:
        rows = self._table.rows_of(kind, blob_ids)
        self._note_unindexed(kind, blob_ids, rows)
        return distinct(rows[rows >= 0])

    def _note_unindexed(self, kind: BlobKind, blob_ids: bytes, rows: Rows) -> None:
        for place in np.flatnonzero(rows < 0).tolist():
            if len(self._unindexed) < _MOST_UNINDEXED:
                self._unindexed.add((kind, blob_ids[place * ID_BYTES : (place + 1) * ID_BYTES]))
