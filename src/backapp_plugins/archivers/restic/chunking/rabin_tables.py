"""What Rabin fingerprints of one polynomial over GF(2) are computed with."""

from collections.abc import Callable
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.format.polynomial import remainder

WINDOW_BYTES: Final = 64
"""A fingerprint is the remainder of so many bytes, taken as a polynomial."""
CUT_MASK: Final = (1 << 20) - 1
"""A chunk may end where these bits of the fingerprint are zero."""
BYTE_BITS: Final = 8

Words = NDArray[np.uint64]
FindCut = Callable[[int, int], int]
"""Returns the first place of a block, from one to another, where a chunk may end; 0 if none."""


@final
class RabinTables:
    """Two tables by which a fingerprint moves on by a byte, as restic's do.

    ``fingerprint << 8 | entering ^ reducing[fingerprint >> shift] ^ leaving[byte 64 before]``
    """

    __slots__ = ("moves", "shift")

    def __init__(self, polynomial: int) -> None:
        degree = polynomial.bit_length() - 1
        window_bits = BYTE_BITS * WINDOW_BYTES
        leaving = [remainder(byte << window_bits, polynomial) for byte in range(256)]
        reducing = [remainder(top << degree, polynomial) | top << degree for top in range(256)]
        self.moves: Words = np.array([leaving, reducing], np.uint64)
        """Two rows: what takes a byte out of the fingerprint once it has left the window, and what
        brings a fingerprint that moved up by a byte below the degree again."""
        self.shift = np.uint64(degree - BYTE_BITS)
