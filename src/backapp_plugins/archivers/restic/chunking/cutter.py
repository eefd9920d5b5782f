"""The rule by which content is cut into chunks: a function of the content alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple


class ZeroRun(NamedTuple):
    """Chunks of nothing but zeros, one after the other: what a hole in a file becomes unread."""

    chunk_bytes: int
    """Length of each."""
    chunk_count: int


class Cutter(ABC):
    """Says where content is cut; used by one thread at a time."""

    stops_at_holes: bool
    """Whether a chunk ends where a hole begins that is long enough for a chunk of its own."""

    @abstractmethod
    def lengths(self, block: bytes) -> Iterator[int]:
        """Yield the lengths of the chunks that ``block`` begins with, however it goes on.

        What follows them is shorter than `MAX_CHUNK_BYTES` and may be the beginning of a chunk.
        """

    @abstractmethod
    def zero_runs(self, length_bytes: int) -> Iterator[ZeroRun]:
        """Yield the chunks of a hole of so many bytes, as a chunk that begins with it.

        They need not cover all of it: what is left is read with what follows, and is shorter than
        `MIN_CHUNK_BYTES`.
        """
