"""Which paths suffer from damage: from the roots down along trees that are marked to lead there."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias, final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from backapp_core.plugin_api import DamagedRepository
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.trees import TreeBroken, TreeNode, iter_tree
from backapp_plugins.archivers.restic.index.ids import Rows
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader

Marks: TypeAlias = NDArray[np.uint64]
"""A bit for each source of damage, over the rows of the index; the last mark, which the row -1
leads to, is that of all blobs that the index does not know."""
_MOST_PATHS: Final = 500
"""Of one source of damage."""
_MOST_TREES: Final = 20_000
"""So many are looked into; what suffers elsewhere is not listed."""
_Folder: TypeAlias = tuple[bytes, int, bytes]
"""Path, row and id of a tree."""


@define(eq=False)
class Harm:
    """A source of damage, and what suffers from it."""

    rows: Rows
    """Blobs that nobody has, or trees that are not what they should be; -1 stands for all blobs
    that no index object names."""
    snapshot_ids: list[bytes] = field(factory=list[bytes])
    paths: list[bytes] = field(factory=list[bytes])
    """Files and directories; some of them if there are very many."""


@final
class PathSearch:
    """One search for the paths of up to 64 sources of damage."""

    def __init__(
        self, table: Table, trees: TreeReader, own: Marks, marks: Marks, harms: Sequence[Harm]
    ) -> None:
        """Prepare.

        Args:
            table: Where blobs are.
            trees: Where trees come from.
            own: Marks of blobs that are damaged themselves.
            marks: The same, and those of trees that lead to them.
            harms: The sources of damage, by their bits.
        """
        self._table = table
        self._trees = trees
        self._own = own
        self._marks = marks
        self._harms = harms
        self._found: list[dict[bytes, None]] = [{} for _ in harms]
        self._wanted = (1 << len(harms)) - 1
        self._met: set[_Folder] = set()

    def run(self, roots: Iterable[tuple[int, bytes]]) -> None:
        """Complete the paths of the sources of damage.

        Args:
            roots: Row and id of each snapshot's tree.

        Raises:
            TransportError: If the destination fails.
        """
        for row, tree_id in roots:
            waiting: list[_Folder] = [(b"/", row, tree_id)]
            while waiting and len(self._met) < _MOST_TREES:
                folder = waiting.pop()
                if folder not in self._met and int(self._marks[folder[1]]) & self._wanted:
                    self._met.add(folder)
                    waiting += reversed(list(self._enter(folder)))
        for harm, found in zip(self._harms, self._found, strict=True):
            harm.paths += found

    def _enter(self, folder: _Folder) -> Iterator[_Folder]:
        """Note what suffers in a directory, and yield the directories in it."""
        path, row, tree_id = folder
        if own := int(self._own[row]):
            self._note(path, own)
        above = path if path == b"/" else path + b"/"
        files: list[bytes] = []
        counts: list[int] = []
        contents: list[bytes] = []
        for node in self._nodes(tree_id):
            try:
                if node.subtree is not None:
                    below = node.subtree_id()
                    rows = self._table.rows_of(BlobKind.TREE, below)
                    yield above + node.raw_name, int(rows[0]), below
                elif ids := node.content_ids():
                    contents += ids
                    counts.append(len(ids))
                    files.append(above + node.raw_name)
            except TreeBroken:
                continue  # the directory as a whole is named already
        self._note_files(files, counts, self._table.rows_of(BlobKind.DATA, contents))

    def _nodes(self, tree_id: bytes) -> Iterator[TreeNode]:
        try:
            yield from iter_tree(self._trees.load(tree_id))
        except (DamagedRepository, TreeBroken):
            return  # noted by its path

    def _note_files(self, files: Sequence[bytes], counts: Sequence[int], rows: Rows) -> None:
        if not files:
            return
        marks = np.bitwise_or.reduceat(self._own[rows], np.cumsum([0, *counts[:-1]]))
        for at in np.flatnonzero(marks).tolist():
            self._note(files[at], int(marks[at]))

    def _note(self, path: bytes, mark: int) -> None:
        for bit, found in enumerate(self._found):
            if mark & self._wanted & (1 << bit):
                found[path] = None
                if len(found) == _MOST_PATHS:
                    self._wanted &= ~(1 << bit)
