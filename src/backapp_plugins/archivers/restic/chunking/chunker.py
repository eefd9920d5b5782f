"""Cuts the content of files into chunks where the content says so, whatever was read in one go."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from typing import final

from backapp_core.plugin_api import Extent, PartMissing
from backapp_plugins.archivers.restic.chunking.cutter import Cutter, ZeroRun
from backapp_plugins.archivers.restic.format.layout import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES

FASTCDC = "fastcdc"
RABIN = "rabin"

_BLOCK_BYTES = MAX_CHUNK_BYTES // 2
"""So much is read at once; where no chunk ends in it, as much as a chunk may have."""

Chunk = bytes | memoryview | ZeroRun
"""Content to store, or a run of zeros; a view keeps the block alive that it was cut from."""
ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes from an offset, fewer only at the end; see `OpenedFile.read_at`."""


@final
class Chunker:
    """Cuts one file after another; used by one thread at a time.

    Of each file at most two blocks are in memory, besides what the caller still holds. A block is
    read from where the last chunk ended: content that did not make a whole chunk is read again from
    the system's cache, which costs less than keeping it.
    """

    __slots__ = ("_cutter",)

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter

    def chunks(
        self, read_at: ReadAt, size_bytes: int, extents: Sequence[Extent] | None = None
    ) -> Iterator[Chunk]:
        """Yield the chunks of a file; fewer bytes than ``size_bytes`` if it ends before that.

        Args:
            read_at: Reads the file.
            size_bytes: Where it ends.
            extents: Where its data are, None if it has no holes; see `OpenedFile.extents`.
        """
        position, reach = 0, _BLOCK_BYTES
        holes = () if extents is None else _long_holes(extents, size_bytes)
        for hole_start, hole_end in chain(holes, ((size_bytes, size_bytes),)):
            limit = hole_start if self._cutter.stops_at_holes else size_bytes
            while position < hole_start:
                wanted = min(reach, limit - position)
                block = read_at(position, wanted)
                is_short = len(block) < wanted
                reach = MAX_CHUNK_BYTES
                for piece in self._pieces(block, is_last=is_short or position + wanted == limit):
                    yield piece
                    position += len(piece)
                    reach = _BLOCK_BYTES
                if is_short:
                    return
            if hole_end - position >= MIN_CHUNK_BYTES:
                for run in self._cutter.zero_runs(hole_end - position):
                    yield run
                    position += run.chunk_bytes * run.chunk_count

    def stream_chunks(self, read_at: ReadAt) -> Iterator[bytes | memoryview]:
        """Yield the chunks of a stream, whose length shows at its end; nothing is read twice."""
        rest = memoryview(b"")
        position = 0
        is_last = False
        while not is_last:
            wanted = MAX_CHUNK_BYTES - len(rest)
            fresh = read_at(position, wanted)
            position += len(fresh)
            is_last = len(fresh) < wanted
            block = b"".join((rest, fresh)) if rest else fresh
            done = 0
            for piece in self._pieces(block, is_last=is_last):
                yield piece
                done += len(piece)
            rest = memoryview(block)[done:]

    def _pieces(self, block: bytes, *, is_last: bool) -> Iterator[bytes | memoryview]:
        """Yield the chunks that ``block`` begins with, and if nothing follows it also its end."""
        if is_last and len(block) <= MIN_CHUNK_BYTES:
            if block:
                yield block
            return
        view = memoryview(block)
        start = 0
        for length in self._cutter.lengths(block):
            yield view[start : start + length]
            start += length
        if is_last and start < len(block):
            yield view[start:]


def open_chunker(kind: str, polynomial: int) -> Chunker:
    """Return a chunker of a repository.

    Args:
        kind: `FASTCDC` or `RABIN`.
        polynomial: The repository's own; another one cuts elsewhere.

    Raises:
        PartMissing: If a library that it needs is not installed.
    """
    try:
        if kind == RABIN:
            from backapp_plugins.archivers.restic.chunking.rabin import RabinCutter

            return Chunker(RabinCutter(polynomial))
        from backapp_plugins.archivers.restic.chunking.fastcdc import FastcdcCutter

        return Chunker(FastcdcCutter(polynomial))
    except ImportError as error:
        raise PartMissing(
            f"cutting files by {kind} needs {error.name}; pip install 'backapp[restic]'"
        ) from error


def slowness(kind: str) -> str:
    """Say what cutting costs for want of a library; empty if nothing."""
    if kind == RABIN and find_spec("numba") is None:
        return (
            "files longer than 512 KiB are cut where restic cuts them, which takes several times "
            "as long without numba; pip install 'backapp[rabin]'"
        )
    return ""


def _long_holes(extents: Sequence[Extent], size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield where the holes are that are worth a chunk; shorter ones are read as zeros."""
    start = 0
    for extent in chain(extents, (Extent(size_bytes, 0),)):
        if extent.offset - start >= MIN_CHUNK_BYTES:
            yield start, extent.offset
        start = extent.offset + extent.length_bytes
