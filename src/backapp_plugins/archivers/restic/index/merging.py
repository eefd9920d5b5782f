"""Many columns become one set of sorted columns in which everything is said once."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.index.columns import (
    DTYPES,
    ROW_COLUMNS,
    Columns,
    Flags,
    new_column,
    no_columns,
)
from backapp_plugins.archivers.restic.index.ids import Numbers, Rows, distinct, words_of

_SLAB = 1 << 18
"""Rows with repeated ids that are put in order at once."""


def merge(parts: Sequence[Columns], *, uses_up: bool = False) -> Columns:
    """Return sorted columns that say what ``parts`` say together.

    Packs are sorted by id. Rows are sorted by kind and id; of several with the same id, those in
    packs marked for deletion stand last. A row that several parts have in the same words, because
    several files name its pack, is kept once.

    Args:
        parts: Columns in any order, of different files.
        uses_up: Whether the parts are emptied on the way, which saves a third of the memory.
    """
    merged = no_columns()
    if not parts:
        return merged
    numbers = _merge_packs(parts, merged)
    _merge_files(parts, numbers, merged)
    places, count = _place_rows(parts, numbers, merged)
    for name in ROW_COLUMNS:
        column = new_column(name, count + 1)  # the last one, -1, takes what is repeated
        for part, number, place in zip(parts, numbers, places, strict=True):
            source = getattr(part, name)
            column[place] = number[source] if name == "pack_number" else source
            if uses_up:
                setattr(part, name, np.empty(0, DTYPES[name]))
        setattr(merged, name, column[:-1])
    return merged


def _merge_packs(parts: Sequence[Columns], merged: Columns) -> list[Numbers]:
    """Fill the columns of packs, and return per part the new numbers of its packs."""
    ids = _joined("pack_id", parts)
    order = np.lexsort(words_of(ids).T[::-1])
    words = words_of(ids)[order]
    is_first = np.ones(len(ids), np.bool_)
    is_first[1:] = (words[1:] != words[:-1]).any(axis=1)
    starts = np.flatnonzero(is_first)
    merged.pack_id = ids[order[starts]]
    for name, unite in (
        ("pack_is_marked", np.logical_or),
        ("pack_noted_at", np.fmax),
        ("pack_claimed_bytes", np.maximum),
    ):
        setattr(merged, name, unite.reduceat(_joined(name, parts)[order], starts))
    numbers = np.empty(len(ids), np.uint32)
    numbers[order] = np.cumsum(is_first) - 1
    return np.split(numbers, [*accumulate(len(part.pack_id) for part in parts)][:-1])


def _merge_files(parts: Sequence[Columns], numbers: Sequence[Numbers], merged: Columns) -> None:
    firsts = accumulate((len(part.file_id) for part in parts), initial=0)
    pairs = list(zip(parts, numbers, strict=True))
    merged.file_id = _joined("file_id", parts)
    merged.naming_pack = np.concatenate([number[part.naming_pack] for part, number in pairs])
    merged.naming_file = np.concatenate(
        [part.naming_file + np.uint32(first) for part, first in zip(parts, firsts, strict=False)]
    )


def _place_rows(
    parts: Sequence[Columns], numbers: Sequence[Numbers], merged: Columns
) -> tuple[list[NDArray[np.int32]], int]:
    """Return per part where its rows go, -1 for what is repeated; and how many rows there are."""
    places = [np.empty(len(part.blob_id), np.int32) for part in parts]
    count = 0
    for kind in BlobKind:
        rows = _RowsOfKind(parts, numbers, kind)
        order = rows.in_order(merged.pack_is_marked)
        place_of = np.full(rows.count, -1, np.int32)
        place_of[order] = np.arange(count, count + len(order), dtype=np.int32)
        for place, part, start, end in zip(places, parts, rows.starts, rows.ends, strict=True):
            place[part.rows_of_kind(kind)] = place_of[start:end]
        if kind is BlobKind.DATA:
            merged.tree_start = len(order)
        count += len(order)
    return places, count


@final
class _RowsOfKind:
    """The rows of one kind in all parts, numbered through."""

    def __init__(
        self, parts: Sequence[Columns], numbers: Sequence[Numbers], kind: BlobKind
    ) -> None:
        self._parts = parts
        self._numbers = numbers
        self._kind = kind
        spans = [part.rows_of_kind(kind) for part in parts]
        self._firsts = [span.start for span in spans]
        self.ends = list(accumulate(span.stop - span.start for span in spans))
        self.starts = [0, *self.ends[:-1]]
        self.count = self.ends[-1]

    def in_order(self, is_marked: Flags) -> Rows:
        """Return the numbers of the rows as they are to stand, without those repeated.

        The first eight bytes of the ids settle nearly all; only where they are the same do the
        other columns matter.
        """
        prefix = np.concatenate(
            [words_of(part.blob_id[part.rows_of_kind(self._kind)])[:, 0] for part in self._parts]
        ).astype(np.uint64)
        order = np.argsort(prefix, kind="stable")
        prefix = prefix[order]
        is_tied = np.zeros(self.count + 1, np.bool_)  # with the row before it
        is_tied[1:-1] = prefix[1:] == prefix[:-1]
        tied = np.flatnonzero(is_tied[:-1] | is_tied[1:])
        if not len(tied):
            return order
        is_kept = np.ones(self.count, np.bool_)
        for places in _whole_groups(tied, is_tied):
            rows, is_repeat = self._settle(order[places], is_marked)
            order[places] = rows
            is_kept[places] = ~is_repeat
        return order[is_kept]

    def _settle(self, rows: Rows, is_marked: Flags) -> tuple[Rows, NDArray[np.bool_]]:
        """Sort rows by everything, and say which are the same as the one before."""
        words, facts = self._gather(rows)
        pack_number, *others = facts.T
        keys = [*others[::-1], pack_number, is_marked[pack_number], *words.T[::-1]]
        order = np.lexsort(keys)
        words, facts = words[order], facts[order]
        is_repeat = np.zeros(len(rows), np.bool_)
        is_repeat[1:] = (words[1:] == words[:-1]).all(axis=1) & (facts[1:] == facts[:-1]).all(
            axis=1
        )
        return rows[order], is_repeat

    def _gather(self, rows: Rows) -> tuple[NDArray[np.uint64], Numbers]:
        """Return ids and then all other columns of rows from anywhere."""
        words = np.empty((len(rows), 4), np.uint64)
        facts = np.empty((len(rows), 4), np.uint32)
        owner = np.searchsorted(self.ends, rows, side="right")
        owners: list[int] = distinct(owner).tolist()
        for at in owners:
            here = np.flatnonzero(owner == at)
            part = self._parts[at]
            there = rows[here] - self.starts[at] + self._firsts[at]
            words[here] = words_of(part.blob_id[there])
            facts[here, 0] = self._numbers[at][part.pack_number[there]]
            for column, values in enumerate((part.offset, part.length, part.uncompressed), start=1):
                facts[here, column] = values[there]
        return words, facts


def _whole_groups(tied: Rows, is_tied: NDArray[np.bool_]) -> Iterator[Rows]:
    """Yield places of tied rows in slabs that part no group."""
    begins = np.flatnonzero(~is_tied[tied])
    marks = np.arange(_SLAB, len(tied), _SLAB)
    cuts = distinct(begins[np.searchsorted(begins, marks, side="right") - 1])
    yield from (slab for slab in np.split(tied, cuts) if len(slab))


def _joined(name: str, parts: Sequence[Columns]) -> NDArray[Any]:
    return np.concatenate([getattr(part, name) for part in parts])
