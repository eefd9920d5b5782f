"""Which blob is where: what the index files say, and what this run has added."""

import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias, final

import numpy as np

from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.columns import Columns, no_columns
from backapp_plugins.archivers.restic.index.ids import to_ids
from backapp_plugins.archivers.restic.index.merging import merge
from backapp_plugins.archivers.restic.index.table import Location, Table

__all__ = ["Index", "Location"]

_FOLD_AT = 1 << 13
"""Blobs in dictionaries at most; there one takes some 400 bytes instead of 50."""
_GROWTH = 4
"""A table is joined with a new one once it is at most so many times as long."""


_Added: TypeAlias = tuple[dict[bytes, tuple[Location, ...]], dict[bytes, tuple[Location, ...]]]
"""Per kind, blobs that are not in a table yet."""


class _State(NamedTuple):
    """What readers see; replaced as a whole, except that blobs appear in the dictionaries."""

    added: _Added
    tables: tuple[Table, ...]
    """No pack stands in two of them."""


@final
class Index:
    """Which blob is in which pack. Any thread may ask, without waiting for others, and any may add.

    What is added goes into small dictionaries, which are folded into sorted tables as they fill;
    tables of similar length are joined. A look-up so passes few tables, and memory stays compact
    however long a run takes.
    """

    def __init__(self, tables: Iterable[Table] = (), *, fold_at: int = _FOLD_AT) -> None:
        """Begin with what was read.

        Args:
            tables: What index files say; tables that have a pack in common are joined.
            fold_at: How many added blobs are kept in dictionaries at most.
        """
        joined: tuple[Table, ...] = ()
        for table in tables:
            joined = _with(joined, table, growth=0)
        self._state = _State(({}, {}), joined)
        self._fold_at = fold_at
        self._waiting = 0
        self._listed: frozenset[bytes] = frozenset()
        self._lock = threading.Lock()

    @property
    def files(self) -> frozenset[bytes]:
        """Ids of the index files that this index covers."""
        return self._listed.union(*(table.files for table in self._state.tables))

    def has(self, kind: BlobKind, blob_id: bytes) -> bool:
        """Whether the blob need not be stored: a pack that is to stay has it."""
        added, tables = self._state
        if blob_id in added[kind]:
            return True
        for table in tables:  # noqa: SIM110  # any() and a generator take a third longer
            if table.has_live(kind, blob_id):
                return True
        return False

    def locations(self, kind: BlobKind, blob_id: bytes) -> Sequence[Location]:
        """Return where all copies of a blob are, those in packs marked for deletion last."""
        added, tables = self._state
        found = list(added[kind].get(blob_id, ()))
        for table in tables:
            found += table.locations(kind, blob_id)
        if len(found) > 1:
            found.sort(key=lambda one: any(table.is_marked(one.pack_id) for table in tables))
        return found

    def add_pack(self, pack_id: bytes, entries: Sequence[PackEntry]) -> None:
        """Add the blobs of a pack that this run has stored; then, not earlier, they are found."""
        with self._lock:
            added = self._state.added
            for kind, blob_id, offset, length, uncompressed in entries:
                location = Location(pack_id, offset, length, uncompressed)
                others = added[kind].get(blob_id, ())
                if location not in others:
                    added[kind][blob_id] = (*others, location)
            self._waiting += len(entries)
            if self._waiting >= self._fold_at:
                self._fold()

    def listed_in(self, index_id: bytes) -> None:
        """Count an index file that this run has written of added packs among `files`."""
        with self._lock:
            self._listed |= {index_id}

    def table(self) -> Table:
        """Return everything in one table, for work on many blobs; later additions are not in it.

        Joins what is not joined yet, which takes a second or two with millions of blobs.
        """
        with self._lock:
            self._fold()
            tables = self._state.tables
            if len(tables) != 1:
                whole = Table(merge([table.columns for table in tables]))
                self._state = self._state._replace(tables=(whole,))
            return self._state.tables[0]

    def _fold(self) -> None:
        added, tables = self._state
        if self._waiting:
            new = Table(merge([_columns_of(added)]))
            self._state = _State(({}, {}), _with(tables, new, growth=_GROWTH))
            self._waiting = 0


def _with(tables: tuple[Table, ...], new: Table, *, growth: int) -> tuple[Table, ...]:
    """Return ``tables`` and ``new``, joined with those that share packs or are not much longer."""
    while True:
        alike = [
            table
            for table in tables
            if len(table) <= growth * len(new) or table.shares_packs_with(new)
        ]
        if not alike:
            return (*tables, new)
        tables = tuple(table for table in tables if table not in alike)
        new = Table(merge([table.columns for table in (*alike, new)]))


def _columns_of(added: _Added) -> Columns:
    numbers: dict[bytes, int] = {}
    blob_ids: list[bytes] = []
    facts: list[tuple[int, int, int, int]] = []
    columns = no_columns()
    for kind in BlobKind:
        columns.tree_start = len(facts) if kind is BlobKind.TREE else 0
        for blob_id, locations in added[kind].items():
            for pack_id, offset, length, uncompressed in locations:
                blob_ids.append(blob_id)
                number = numbers.setdefault(pack_id, len(numbers))
                facts.append((number, offset, length, uncompressed))
    columns.blob_id = to_ids(blob_ids)
    columns.pack_number, columns.offset, columns.length, columns.uncompressed = (
        np.array(facts, np.uint32).reshape(-1, 4).T.copy()
    )
    columns.pack_id = to_ids(list(numbers))
    columns.pack_is_marked = np.zeros(len(numbers), np.bool_)
    columns.pack_noted_at = np.full(len(numbers), np.datetime64("NaT"), "datetime64[us]")
    columns.pack_claimed_bytes = np.zeros(len(numbers), np.uint32)
    return columns
