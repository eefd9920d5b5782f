"""Finds cuts by Rabin fingerprints with numpy, in thousands of lanes side by side."""

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.chunking.rabin_tables import (
    BYTE_BITS,
    CUT_MASK,
    WINDOW_BYTES,
    FindCut,
    RabinTables,
)
from backapp_plugins.archivers.restic.format.layout import MIN_CHUNK_BYTES

_STEPS = 256
"""How far each lane goes: the shorter, the more lanes there are, and the more windows to fill."""


def portable_finder(tables: RabinTables, block: bytes) -> FindCut:
    """Return what finds the cuts of ``block``; they are all computed here."""
    # No chunk ends before that.
    data = np.frombuffer(block, np.uint8)[MIN_CHUNK_BYTES - WINDOW_BYTES :]
    is_cut = _cuts(tables, data)

    def find(low: int, high: int) -> int:
        stretch = is_cut[low - MIN_CHUNK_BYTES : high - MIN_CHUNK_BYTES + 1]
        index = int(stretch.argmax())
        return low + index if stretch[index] else 0

    return find


def _cuts(tables: RabinTables, data: NDArray[np.uint8]) -> NDArray[np.bool]:
    """Return whether a chunk may end after each whole window; what follows the last is padding."""
    leaving, reducing = tables.moves
    lanes = -(-len(data) // _STEPS)
    padded = np.zeros(lanes * _STEPS + WINDOW_BYTES, np.uint8)
    padded[: len(data)] = data
    # A row holds what all lanes take in at the same step.
    rows = np.ascontiguousarray(as_strided(padded, (_STEPS + WINDOW_BYTES, lanes), (1, _STEPS)))
    known = np.zeros(lanes, np.uint64)
    scratch, looked_up = np.empty_like(known), np.empty_like(known)
    is_cut = np.empty((_STEPS + WINDOW_BYTES, lanes), np.bool)
    # "clip" lets numpy write the result where it belongs; every index is that of a byte anyway.
    for step, entering in enumerate(rows):
        np.right_shift(known, tables.shift, out=scratch)
        np.left_shift(known, BYTE_BITS, out=known)
        np.bitwise_or(known, entering, out=known)
        np.take(reducing, scratch.view(np.int64), out=looked_up, mode="clip")
        np.bitwise_xor(known, looked_up, out=known)
        if step >= WINDOW_BYTES:
            np.take(leaving, rows[step - WINDOW_BYTES], out=looked_up, mode="clip")
            np.bitwise_xor(known, looked_up, out=known)
        np.bitwise_and(known, CUT_MASK, out=scratch)
        np.equal(scratch, 0, out=is_cut[step])
    return is_cut[WINDOW_BYTES - 1 : -1].T.ravel()
