"""What snapshots need: each distinct tree of theirs is read once, and what it names is ticked off.

Memory goes into bytes per blob of the index, not into a Python object for each.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from backapp_core.plugin_api import DamagedRepository, ObjectMissing
from backapp_plugins.archivers.restic.format.layout import ID_BYTES, SNAPSHOTS, BlobKind, pack_name
from backapp_plugins.archivers.restic.format.tree_links import Links
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import Rows, to_ids
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.moved_bytes import MovedBytes
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.link_reader import LinkReader
from backapp_plugins.archivers.restic.reading.spans import Span
from backapp_plugins.archivers.restic.reading.wanted import MOST_BLOB_BYTES

_Origins: TypeAlias = NDArray[np.int32]
_NOTHING = Links(b"", b"", ())


class Lost(NamedTuple):
    """A blob that a snapshot needs and nobody has."""

    kind: BlobKind
    blob_id: bytes
    snapshot_id: bytes
    """One of those that need it."""
    reason: str


class _SnapshotRoot(msgspec.Struct):
    tree: str


def snapshot_roots(place: Place, snapshot_ids: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the tree of each snapshot; one that was removed meanwhile is left out.

    Raises:
        DamagedRepository: If a snapshot cannot be read; the message names it.
    """
    roots = in_threads(place, lambda one: _root_of(place, one), snapshot_ids)
    return {
        snapshot_id: root
        for snapshot_id, root in zip(snapshot_ids, roots, strict=True)
        if root is not None
    }


def _root_of(place: Place, snapshot_id: bytes) -> bytes | None:
    try:
        document = place.read_document(SNAPSHOTS, snapshot_id)
    except ObjectMissing:
        return None
    try:
        root = bytes.fromhex(msgspec.json.decode(document, type=_SnapshotRoot).tree)
        if len(root) == ID_BYTES:
            return root
    except ValueError as error:  # malformed JSON is one, too
        reason = str(error)
    else:
        reason = "its tree is no id"
    raise DamagedRepository(f"{SNAPSHOTS}{snapshot_id.hex()} is damaged: {reason}")


def needed_rows(
    place: Place,
    index: Index,
    roots: Mapping[bytes, bytes],
    is_safe: Flags,
    moved: MovedBytes | None = None,
) -> tuple[Flags, list[Lost]]:
    """Return which blobs snapshots need, ticked at the first row of each, and which are lost.

    Args:
        place: The repository.
        index: Where its blobs are.
        roots: Snapshots with their trees.
        is_safe: Of each row of the index, whether some copy of its blob stands in a whole pack.
        moved: Told of the trees that were read.

    Raises:
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    walk = NeedsWalk(place, index, is_safe, moved)
    walk.run(roots)
    return walk.needed, walk.lost


@final
class NeedsWalk:
    """The way through the trees, one level of all snapshots after another."""

    def __init__(
        self, place: Place, index: Index, is_safe: Flags, moved: MovedBytes | None = None
    ) -> None:
        """Begin with nothing ticked off; the arguments are those of `needed_rows`."""
        self._moved = moved
        self._reader = LinkReader(place, index)
        self._table = index.table()
        self._tree_start = self._table.columns.tree_start
        columns = self._table.columns
        claimed_bytes = np.maximum(columns.length, columns.uncompressed)
        self._is_too_large = claimed_bytes > MOST_BLOB_BYTES[BlobKind.TREE]
        self._is_too_large[: self._tree_start] = False  # the content of files is not read here
        self._is_safe = is_safe & ~self._is_too_large
        self._snapshots: Sequence[bytes] = ()
        self._origin = np.zeros(len(self._table) - self._tree_start, np.int32)
        """Of each tree, the snapshot by which it was found."""
        self.needed: Flags = np.zeros(len(self._table), np.bool_)
        """Which blobs are needed, ticked at the first row of each."""
        self._lost: dict[tuple[BlobKind, bytes], Lost] = {}

    @property
    def lost(self) -> list[Lost]:
        """What could not be followed or is not there."""
        return list(self._lost.values())

    def run(self, roots: Mapping[bytes, bytes]) -> None:
        """Tick off everything below ``roots``; trees that an earlier call met are passed over.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        self._snapshots = list(roots)
        origins = np.arange(len(roots), dtype=np.int32)
        level = self._tick(BlobKind.TREE, b"".join(roots.values()), origins)
        while len(level):
            found = [self._follow(*read) for read in self._reader.read(level)]
            level = np.concatenate(found)
        self._reader.report()

    def _follow(self, span: Span, found: Sequence[Links | str]) -> Rows:
        """Tick off what trees refer to, and return the rows of trees not seen before."""
        if self._moved is not None:
            self._moved.add(int(self._table.columns.length[span.rows].sum(dtype=np.int64)))
        origins = self._origin[span.rows - self._tree_start]
        all_links: list[Links] = []
        for row, origin, links in zip(span.rows.tolist(), origins.tolist(), found, strict=True):
            if isinstance(links, str):
                blob_id = self._table.columns.blob_id[row].tobytes()
                self._lose(BlobKind.TREE, blob_id, origin, links)
                links = _NOTHING  # noqa: PLW2901  # it refers to nothing that is known
            all_links.append(links)
        self._tick(
            BlobKind.DATA,
            b"".join([links.contents for links in all_links]),
            np.repeat(origins, [len(links.contents) // ID_BYTES for links in all_links]),
        )
        return self._tick(
            BlobKind.TREE,
            b"".join([links.subtrees for links in all_links]),
            np.repeat(origins, [len(links.subtrees) // ID_BYTES for links in all_links]),
        )

    def _tick(self, kind: BlobKind, blob_ids: bytes, origins: _Origins) -> Rows:
        """Tick off blobs, and return the rows of those that were not before."""
        rows = self._table.rows_of(kind, blob_ids)
        is_lost = rows < 0
        is_lost[~is_lost] = ~self._is_safe[rows[~is_lost]]
        if is_lost.any():
            self._note_lost(kind, blob_ids, np.flatnonzero(is_lost), rows, origins)
        is_fresh = ~is_lost
        is_fresh[is_fresh] = ~self.needed[rows[is_fresh]]
        fresh, first = np.unique(rows[is_fresh], return_index=True)
        self.needed[fresh] = True
        if kind is BlobKind.TREE:
            self._origin[fresh - self._tree_start] = origins[is_fresh][first]
        return fresh

    def _note_lost(
        self, kind: BlobKind, blob_ids: bytes, places: Rows, rows: Rows, origins: _Origins
    ) -> None:
        column = to_ids(blob_ids)
        for place in places.tolist():
            reason = self._why_unsafe(int(rows[place]))
            self._lose(kind, column[place].tobytes(), int(origins[place]), reason)

    def _why_unsafe(self, row: int) -> str:
        if row < 0:
            return "no index object names it"
        if self._is_too_large[row]:
            return "it claims to be too large"
        columns = self._table.columns
        pack = pack_name(columns.pack_id[int(columns.pack_number[row])].tobytes())
        return f"{pack} is missing or has another size than the index says"

    def _lose(self, kind: BlobKind, blob_id: bytes, origin: int, reason: str) -> None:
        lost = Lost(kind, blob_id, self._snapshots[origin], reason)
        self._lost.setdefault((kind, blob_id), lost)


def top_trees(place: Place, index: Index, is_safe: Flags) -> list[bytes]:
    """Return the ids of all trees that can be read and that no other tree refers to.

    Args:
        place: The repository.
        index: Where its blobs are.
        is_safe: Of each row of the index, whether some copy of its blob stands in a whole pack.

    Raises:
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    table = index.table()
    is_top = is_safe & ~table.is_copy()
    is_top[: table.columns.tree_start] = False
    reader = LinkReader(place, index)
    for span, found in reader.read(np.flatnonzero(is_top)):
        for row, links in zip(span.rows.tolist(), found, strict=True):
            if isinstance(links, str):
                is_top[row] = False
        subtrees = b"".join([links.subtrees for links in found if not isinstance(links, str)])
        rows = table.rows_of(BlobKind.TREE, subtrees)
        is_top[rows[rows >= 0]] = False
    reader.report()
    ids: list[bytes] = table.columns.blob_id[is_top].tolist()
    return ids
