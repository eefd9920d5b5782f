"""Blobs that are wanted from many packs, in as few requests as make sense."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backapp_plugins.archivers.restic.index.ids import Rows
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.reading.wanted import GAP_BYTES, SPAN_BYTES


class Span(NamedTuple):
    """A part of one pack that is read at once."""

    pack_number: int
    offset: int
    length: int
    rows: Rows
    """The wanted rows in it, in the order in which they stand there."""


def spans(table: Table, rows: Rows, *, gap_bytes: int = GAP_BYTES) -> Iterator[Span]:
    """Yield what to read for ``rows``, pack by pack from front to back."""
    if not len(rows):
        return
    columns = table.columns
    order = np.lexsort((columns.offset[rows], columns.pack_number[rows]))
    rows = rows[order]
    pack = columns.pack_number[rows]
    start = columns.offset[rows].astype(np.int64)
    end = start + columns.length[rows]
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = (pack[1:] != pack[:-1]) | (start[1:] - end[:-1] > gap_bytes)
    firsts = np.flatnonzero(is_first)
    for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), len(rows)], strict=True):
        for low, high in _short_enough(start, end, first, last):
            begin = int(start[low])
            length = int(end[low:high].max()) - begin
            yield Span(int(pack[low]), begin, length, rows[low:high])


def _short_enough(start: Rows, end: Rows, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut what stands together into parts of a size that fits into memory."""
    while first < last:
        limit = int(start[first]) + SPAN_BYTES
        cut = first + int(np.searchsorted(end[first:last], limit, side="right"))
        cut = max(cut, first + 1)
        yield first, cut
        first = cut
