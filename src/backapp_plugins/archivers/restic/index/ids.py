"""Sorted ids in one block of memory, found without a Python object for each.

Ids are hashes, so their first bits say where among the sorted ones they stand, give or take a few:
a table of starts leads to a handful of neighbours, and one native search looks through those.
Measured with five million ids: a microsecond for one, found or not, and 0.1 to 0.3 for one of many.
"""

from bisect import bisect_left
from collections.abc import Sequence
from struct import Struct
from typing import Any, TypeAlias, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.format.layout import ID_BYTES

Ids: TypeAlias = NDArray[np.void]
"""Ids as a column: 32 bytes each."""
Rows: TypeAlias = NDArray[np.int64]
"""Positions in a column; -1 for what is not there."""
Numbers: TypeAlias = NDArray[np.uint32]
_Number = TypeVar("_Number", bound=np.integer[Any])

ID = np.dtype(f"V{ID_BYTES}")
_WORD = np.dtype(">u8")
_WORDS = ID_BYTES // 8
_HALF_WORD = np.dtype(">u4")
_HALF_WORD_BITS = 32
_first_half_word = Struct(">I").unpack_from
_SPARE_BITS = 4
"""A start leads to 8 to 16 ids on average, and costs a quarter to half a byte for each."""
_MOST_BITS = 24
_CROWDED = 256
"""So many neighbours mean that somebody made ids up; they are searched by halving."""
_SLAB = 1 << 17
"""Ids that are looked up in one sweep; the work space of a sweep stays in the processor's cache."""


def to_ids(ids: bytes | Sequence[bytes] | Ids) -> Ids:
    """Return ids as a column, from one after another in ``bytes``, or from a list of them."""
    if isinstance(ids, np.ndarray):
        return ids
    joined = ids if isinstance(ids, bytes) else b"".join(ids)
    return np.frombuffer(joined, ID)


def distinct(numbers: NDArray[_Number]) -> NDArray[_Number]:
    """Return what a column holds, ascending and each once.

    As `numpy.unique` does, which imports all that numpy has for masked arrays: a fortieth of a
    second.
    """
    ordered: NDArray[_Number] = np.sort(numbers)
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def words_of(ids: Ids) -> NDArray[np.uint64]:
    """Return ids as rows of four numbers that sort as the ids do."""
    return ids.view(_WORD).reshape(-1, _WORDS)


@final
class SortedIds:
    """Ids in ascending order, among which the same may stand more than once."""

    __slots__ = ("_ids", "_shift", "_starts", "_view", "_words", "starts")

    def __init__(self, ids: Ids, starts: Numbers | None = None) -> None:
        """Take ids that are sorted.

        Args:
            ids: A contiguous column.
            starts: What the attribute was of the same ids before; counted anew if None.
        """
        self.starts = _count_starts(ids) if starts is None else starts
        """Where the ids begin that share their first bits; one more for the end."""
        self._ids = ids
        self._words = words_of(ids)
        self._view: memoryview[int] = ids.view(np.uint8).data
        self._starts: memoryview[int] = self.starts.data
        self._shift = _HALF_WORD_BITS - (len(self.starts) - 1).bit_length() + 1

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, wanted: bytes) -> int:
        """Return where an id stands first, -1 if it does not."""
        bucket: int = _first_half_word(wanted)[0] >> self._shift
        starts = self._starts
        low, high = starts[bucket], starts[bucket + 1]
        if high - low > _CROWDED:
            return self._find_by_halving(wanted, low, high)
        near = self._view[low * ID_BYTES : high * ID_BYTES].tobytes()
        place = near.find(wanted)
        while place > 0 and place % ID_BYTES:
            place = near.find(wanted, place + 1)  # it began in the middle of another
        return low + place // ID_BYTES if place >= 0 else -1

    def copies(self, wanted: bytes) -> range:
        """Return all positions at which an id stands."""
        start = self.find(wanted)
        if start < 0:
            return range(0)
        end = start + 1
        while self.at(end) == wanted:
            end += 1
        return range(start, end)

    def at(self, position: int) -> bytes:
        """Return the id at a position, nothing behind the last."""
        return self._view[position * ID_BYTES : (position + 1) * ID_BYTES].tobytes()

    def find_many(self, wanted: Ids) -> Rows:
        """Return where each of these ids stands first, -1 for those that do not."""
        found = np.full(len(wanted), -1, np.int64)
        if len(self):
            for at in range(0, len(wanted), _SLAB):
                found[at : at + _SLAB] = self._find_slab(wanted[at : at + _SLAB])
        return found

    def is_repeated(self) -> NDArray[np.bool_]:
        """Return of each position whether the one before it has the same id."""
        repeated = np.zeros(len(self), np.bool_)
        for at in range(1, len(self), _SLAB):
            here = self._words[at : at + _SLAB]
            before = self._words[at - 1 : at - 1 + len(here)]
            repeated[at : at + _SLAB] = (here == before).all(axis=1)
        return repeated

    def _find_by_halving(self, wanted: bytes, low: int, high: int) -> int:
        place = bisect_left(range(high), wanted, low, high, key=self.at)
        return place if place < high and self.at(place) == wanted else -1

    def _find_slab(self, wanted: Ids) -> Rows:
        """Halve the neighbourhoods of all wanted ids at once, by the first eight bytes."""
        words = words_of(wanted)
        prefix = words[:, 0].astype(np.uint64)
        bucket = (prefix >> np.uint64(self._shift + _HALF_WORD_BITS)).astype(np.int64)
        low = self.starts[bucket].astype(np.int64)
        high = self.starts[bucket + 1].astype(np.int64)
        last = len(self) - 1
        while (is_open := low < high).any():
            middle = (low + high) >> 1
            is_less = is_open & (self._words[np.minimum(middle, last), 0] < prefix)
            low = np.where(is_less, middle + 1, low)
            high = np.where(is_open & ~is_less, middle, high)
        near = self._words[np.minimum(low, last)]
        is_same = (near == words).all(axis=1)
        found = np.where(is_same, low, -1)
        for doubtful in np.flatnonzero(~is_same & (near[:, 0] == prefix)):
            found[doubtful] = self.find(wanted[doubtful].tobytes())  # eight bytes are not all
        return found


def _count_starts(ids: Ids) -> Numbers:
    bits = max(1, min(_MOST_BITS, len(ids).bit_length() - _SPARE_BITS))
    first = ids.view(_HALF_WORD)[:: ID_BYTES // 4] >> np.uint32(_HALF_WORD_BITS - bits)
    starts = np.zeros((1 << bits) + 1, np.uint32)
    np.cumsum(np.bincount(first, minlength=1 << bits), out=starts[1:])
    return starts
