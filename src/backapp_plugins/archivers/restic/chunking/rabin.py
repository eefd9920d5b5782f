"""Cut points by Rabin fingerprints: restic's own, so that both find the same chunks.

The fingerprint at a place depends on nothing but the 64 bytes before it, so that many places of a
block are looked at side by side, which is what makes this fast.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import final

from typing_extensions import override

from backapp_plugins.archivers.restic.chunking.cutter import Cutter, ZeroRun
from backapp_plugins.archivers.restic.chunking.rabin_numpy import portable_finder
from backapp_plugins.archivers.restic.chunking.rabin_tables import FindCut, RabinTables
from backapp_plugins.archivers.restic.format.layout import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES

_WORTH_COMPILING_BYTES = 96 << 20
"""About so far numpy gets while the compiler is loaded and at work."""


@final
class RabinCutter(Cutter):
    """Cuts exactly where restic does, after 512 KiB to 8 MiB, 1.5 MiB on average.

    Cuts are found with numpy, and where numba is installed with compiled code as soon as there is
    enough to cut.
    """

    stops_at_holes = False

    def __init__(self, polynomial: int) -> None:
        self._tables = RabinTables(polynomial)
        self._seen_bytes = 0
        self._make_finder: Callable[[RabinTables, bytes], FindCut] = portable_finder

    @override
    def lengths(self, block: bytes) -> Iterator[int]:
        find = self._finder(block)
        start = 0
        while (left := len(block) - start) >= MIN_CHUNK_BYTES:
            end = find(start + MIN_CHUNK_BYTES, start + min(left, MAX_CHUNK_BYTES))
            if not end and left < MAX_CHUNK_BYTES:
                return
            length = end - start if end else MAX_CHUNK_BYTES
            yield length
            start += length

    @override
    def zero_runs(self, length_bytes: int) -> Iterator[ZeroRun]:
        # The fingerprint of zeros is zero: such a chunk ends as soon as it may.
        yield ZeroRun(MIN_CHUNK_BYTES, length_bytes // MIN_CHUNK_BYTES)

    def _finder(self, block: bytes) -> FindCut:
        if self._seen_bytes <= _WORTH_COMPILING_BYTES:
            self._seen_bytes += len(block)
            if self._seen_bytes > _WORTH_COMPILING_BYTES:
                self._make_finder = _fastest_finder()
        return self._make_finder(self._tables, block)


@cache
def _fastest_finder() -> Callable[[RabinTables, bytes], FindCut]:
    try:
        from backapp_plugins.archivers.restic.chunking.rabin_numba import compiled_finder
    except ImportError:
        return portable_finder  # numba is an extra that makes this faster and changes nothing
    return compiled_finder
