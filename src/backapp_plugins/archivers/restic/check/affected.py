"""Which snapshots suffer from damage; found by a second way through the trees.

Most checks find nothing, so the first way remembers nothing of who leads to what. Here every source
of damage is a bit of a mark, and marks go up from blobs to the trees that name them, and so on to
the roots.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.check.paths import Harm, Marks, PathSearch
from backapp_plugins.archivers.restic.check.walk import TreeSource, walk
from backapp_plugins.archivers.restic.format.layout import ID_BYTES, BlobKind
from backapp_plugins.archivers.restic.format.tree_links import links_of
from backapp_plugins.archivers.restic.format.trees import TreeBroken
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import Rows
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.spans import Span
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader

_AT_ONCE: Final = 64
"""Sources of damage that marks have bits for."""
_MOST_TRACED: Final = 1024
"""Of so many sources of damage it is said what suffers from them."""


class _Links(NamedTuple):
    """Rows of trees beside rows of what they name, -1 for what the index does not know."""

    trees: NDArray[np.int32]
    subtrees: NDArray[np.int32]
    """What the tree at the same place names."""
    harmed: NDArray[np.int32]
    blobs: NDArray[np.int32]
    """Harmful data that the harmed tree at the same place names."""


@final
class Affected:
    """Traces sources of damage to what suffers from them."""

    def __init__(
        self, place: Place, table: Table, source: TreeSource, roots: Mapping[bytes, bytes]
    ) -> None:
        """Look below ``roots``, the trees of snapshots by the ids of these."""
        self._place = place
        self._table = table
        self._source = source
        self._roots = roots
        self._root_rows = table.rows_of(BlobKind.TREE, b"".join(roots.values()))
        self._is_harmful: Flags = np.zeros(len(table) + 1, np.bool_)
        none = np.empty(0, np.int32)
        self._parts: list[_Links] = [_Links(none, none, none, none)]

    def trace(self, harms: Sequence[Harm], trees: TreeReader) -> None:
        """Say of sources of damage what suffers from them; of very many, only of the first.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        harms = harms[:_MOST_TRACED]
        for harm in harms:
            self._is_harmful[harm.rows] = True
        known = self._root_rows[self._root_rows >= 0]
        walk(self._place, self._table, known, self._look, self._take)
        links = _Links(*map(np.concatenate, zip(*self._parts, strict=True)))
        for at in range(0, len(harms), _AT_ONCE):
            some = harms[at : at + _AT_ONCE]
            own = self._marks_of(some)
            marks = _spread(own, links)
            self._name_snapshots(some, marks)
            search = PathSearch(self._table, trees, own, marks, some)
            search.run(zip(self._root_rows.tolist(), self._roots.values(), strict=True))

    def _look(self, span: Span) -> _Links:
        trees: list[int] = []
        subtrees: list[bytes] = []
        contents: list[bytes] = []
        for row, data in self._source.read(span):
            try:
                links = links_of(data) if data is not None else None
            except TreeBroken:
                continue  # which is a source of damage itself
            if links is not None:
                trees.append(row)
                subtrees.append(links.subtrees)
                contents.append(links.contents)
        data_rows = self._table.rows_of(BlobKind.DATA, b"".join(contents))
        is_harmful = self._is_harmful[data_rows]
        return _Links(
            _repeated(trees, subtrees),
            self._table.rows_of(BlobKind.TREE, b"".join(subtrees)).astype(np.int32),
            _repeated(trees, contents)[is_harmful],
            data_rows[is_harmful].astype(np.int32),
        )

    def _take(self, links: _Links) -> Rows:
        self._parts.append(links)
        return links.subtrees[links.subtrees >= 0].astype(np.int64)

    def _marks_of(self, harms: Sequence[Harm]) -> Marks:
        marks = np.zeros(len(self._table) + 1, np.uint64)
        for bit, harm in enumerate(harms):
            marks[harm.rows] |= np.uint64(1 << bit)
        return marks

    def _name_snapshots(self, harms: Sequence[Harm], marks: Marks) -> None:
        for snapshot_id, mark in zip(self._roots, marks[self._root_rows].tolist(), strict=True):
            for bit, harm in enumerate(harms):
                if mark >> bit & 1:
                    harm.snapshot_ids.append(snapshot_id)


def _repeated(trees: Sequence[int], named: Sequence[bytes]) -> NDArray[np.int32]:
    """Return the row of each tree as often as it names something."""
    times = [len(ids) // ID_BYTES for ids in named]
    return np.repeat(np.array(trees, np.int32), times)


def _spread(own: Marks, links: _Links) -> Marks:
    """Return marks in which each tree has those of all that it leads to."""
    marks = own.copy()
    np.bitwise_or.at(marks, links.harmed, marks[links.blobs])
    while True:
        before = marks[links.trees]
        after = before | marks[links.subtrees]
        if np.array_equal(before, after):
            return marks
        np.bitwise_or.at(marks, links.trees, after)
