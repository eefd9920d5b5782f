"""Finds cuts by Rabin fingerprints with code that is compiled when this module is imported.

That takes a third of a second. The result is not kept on disk: numba would store it as a pickle,
which runs whatever somebody else wrote there, to save half of that third.
"""

from functools import partial

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.chunking.rabin_tables import (
    BYTE_BITS,
    CUT_MASK,
    WINDOW_BYTES,
    FindCut,
    RabinTables,
    Words,
)

_LANES = 4
"""How many places are looked at side by side, for each step of one has to wait for the step before.
Measured: 600 MB/s with one lane, 950 with four, 800 with eight."""
_STEPS = 1 << 13
"""How far each lane goes before somebody looks whether a cut was found."""
_BYTE_BITS = np.uint64(BYTE_BITS)
_CUT_MASK = np.uint64(CUT_MASK)
_BLOCK = types.Array(types.uint8, 1, "C", readonly=True)


def compiled_finder(tables: RabinTables, block: bytes) -> FindCut:
    """Return what finds the cuts of ``block``; it looks no further than it has to."""
    data = np.frombuffer(block, np.uint8)
    return partial(_find, data, tables.moves, tables.shift)


@njit(types.int64(_BLOCK, types.uint64[:, ::1], types.uint64, types.int64, types.int64), nogil=True)
def _find(block: NDArray[np.uint8], moves: Words, shift: np.uint64, low: int, high: int) -> int:
    """Return the first place from ``low`` to ``high`` where a chunk may end, 0 if there is none.

    The last round begins as much earlier as it takes to end at ``high``; what it finds before
    ``low`` does not count.
    """
    leaving, reducing = moves[0], moves[1]
    fingerprints = np.empty(_LANES, np.uint64)
    first = low - 1
    while first < high:
        steps = min(_STEPS, (high - first + _LANES - 1) // _LANES)
        first = min(first, high - _LANES * steps)
        fingerprints[:] = 0
        for place in range(first - WINDOW_BYTES, first):
            for lane in range(_LANES):
                known = fingerprints[lane]
                fingerprints[lane] = (
                    known << _BYTE_BITS | np.uint64(block[place + lane * steps])
                ) ^ reducing[known >> shift]
        found = high + 1
        for place in range(first, first + steps):
            for lane in range(_LANES):
                entering = place + lane * steps
                known = fingerprints[lane]
                fingerprint = (
                    (known << _BYTE_BITS | np.uint64(block[entering]))
                    ^ reducing[known >> shift]
                    ^ leaving[block[entering - WINDOW_BYTES]]
                )
                fingerprints[lane] = fingerprint
                if fingerprint & _CUT_MASK == 0 and entering + 1 >= low:
                    found = min(found, entering + 1)
        if found <= high:
            return found
        first += _LANES * steps
    return 0
