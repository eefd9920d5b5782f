"""Cut points by FastCDC: the fastest way, and our own; restic cuts the same content elsewhere."""

from collections.abc import Iterator
from hashlib import sha256
from typing import final

from pyfastcdc import FastCDC
from typing_extensions import override

from backapp_core.plugin_api import PartMissing
from backapp_plugins.archivers.restic.chunking.cutter import Cutter, ZeroRun
from backapp_plugins.archivers.restic.format.layout import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES

_AVERAGE_BYTES = 1 << 20
_LABEL = b"backapp restic fastcdc"
_SEED_BITS = 63
"""The library shifts the seed to the left and refuses what does not fit into 64 bits then."""


@final
class FastcdcCutter(Cutter):
    """Cuts after 512 KiB to 8 MiB, 1.4 MiB on average; used by one thread at a time.

    The polynomial of the repository goes into the seed, so that nobody can tell known files by the
    lengths of their chunks at a glance. Whether a cut is found at some place of a block does not
    depend on what follows: the library looks at the bytes before that place only.
    """

    stops_at_holes = True

    def __init__(self, polynomial: int) -> None:
        """Prepare for a repository.

        Raises:
            PartMissing: If the library was installed without its compiled part, which is two
                hundred times as fast as the other one.
        """
        if not FastCDC.__module__.startswith("pyfastcdc.cy."):
            raise PartMissing(
                "pyfastcdc lacks its compiled part, without which backups would take days; install "
                "a C compiler and run PYFASTCDC_REQUIRE_CYTHON=1 pip install --force-reinstall "
                "--no-binary pyfastcdc pyfastcdc, or create the repository with chunker=rabin"
            )
        self._fastcdc = FastCDC(
            _AVERAGE_BYTES,
            min_size=MIN_CHUNK_BYTES,
            max_size=MAX_CHUNK_BYTES,
            seed=seed_of(polynomial),
        )

    @override
    def lengths(self, block: bytes) -> Iterator[int]:
        """Yield the lengths of the chunks that ``block`` begins with; see `Cutter`."""
        left = len(block)
        for chunk in self._fastcdc.cut_buf(block):
            left -= chunk.length
            if left == 0 and chunk.length < MAX_CHUNK_BYTES:
                return  # not cut, but ended with the block
            yield chunk.length

    @override
    def zero_runs(self, length_bytes: int) -> Iterator[ZeroRun]:
        """Yield the chunks of a hole: few lengths, so that holes share them; see `Cutter`."""
        chunk_bytes = MAX_CHUNK_BYTES
        while chunk_bytes >= MIN_CHUNK_BYTES:
            count, length_bytes = divmod(length_bytes, chunk_bytes)
            if count:
                yield ZeroRun(chunk_bytes, count)
            chunk_bytes //= 2
        if length_bytes:
            yield ZeroRun(length_bytes, 1)


def seed_of(polynomial: int) -> int:
    """Return what the cut points of a repository depend on besides content."""
    digest = sha256(_LABEL + polynomial.to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)
