"""What is known to be damaged: packs, and blobs by the rows that the index has for them."""

import threading
from collections.abc import Iterable
from typing import final

import numpy as np

from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import Rows, distinct
from backapp_plugins.archivers.restic.index.table import Table


@final
class Damage:
    """Noted by several threads at once, and judged when all is noted.

    Takes two bytes per blob of the index, and a sentence per damaged pack.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.is_bad: Flags = np.zeros(len(table), np.bool_)
        """Of each row, whether the blob cannot be had from there."""
        self.is_whole: Flags = np.zeros(len(table), np.bool_)
        """Of each row, whether the blob was read from there and verified."""
        self.reasons: dict[int, str] = {}
        """Of each damaged pack, by its number, what was first found."""
        self._lock = threading.Lock()

    def pack(self, number: int, reason: str, bad_rows: Iterable[int] | Rows = ()) -> None:
        """Note what is wrong with a pack, and which blobs cannot be had from it."""
        with self._lock:
            self.reasons.setdefault(number, reason)
            for row in bad_rows:
                self.is_bad[row] = True

    def lost_by_pack(self, is_needed: Flags) -> dict[int, Rows]:
        """Return the needed blobs of which no copy is whole, by the packs that should have them.

        Args:
            is_needed: Of the first row of each blob, whether it is needed; blobs are returned by
                their first rows, too.
        """
        if not self.is_bad.any():
            return {}
        is_copy = self.table.is_copy()
        first = np.flatnonzero(~is_copy)
        is_lost = np.logical_and.reduceat(self.is_bad, first) & is_needed[first]
        group = np.cumsum(~is_copy) - 1
        rows = np.flatnonzero(is_lost[group])
        packs = self.table.columns.pack_number[rows]
        order = np.argsort(packs, kind="stable")
        numbers, starts = np.unique(packs[order], return_index=True)
        blobs = np.split(first[group[rows[order]]], starts[1:])
        return dict(zip(numbers.tolist(), map(distinct, blobs), strict=True)) if len(rows) else {}
