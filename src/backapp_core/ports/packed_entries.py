"""Entries that wait, in a fifth of the memory that they take as objects."""

from collections.abc import Iterator, Sequence
from typing import final, overload

import msgspec
from typing_extensions import override

from backapp_core.model.entries import Entry

_AT_ONCE = 1 << 14
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


@final
class PackedEntries(Sequence[Entry]):
    """Entries as bytes until the first of them is asked for; any number of threads may ask."""

    __slots__ = ("_count", "_entries", "pieces")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._count = len(entries)
        self._entries: list[Entry] | None = None
        try:
            pieces = tuple(map(_encode, _parts(entries)))
        except OverflowError:
            self._entries = list(entries)  # a time that is far off; see `encoded_facts`
            pieces = tuple(encoded_entries(entries))
        self.pieces = pieces
        """What `encoded_entries` yields of them."""

    @override
    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Entry: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Entry]: ...

    @override
    def __getitem__(self, place: int | slice) -> Entry | Sequence[Entry]:
        return self._unpacked()[place]

    @override
    def __iter__(self) -> Iterator[Entry]:
        return iter(self._unpacked())

    def _unpacked(self) -> list[Entry]:
        entries = self._entries
        if entries is None:
            entries = [entry for piece in self.pieces for entry in _decode(piece)]
            self._entries = entries
        return entries


def encoded_entries(entries: Sequence[Entry]) -> Iterator[bytes]:
    """Yield all facts of entries, at most some thousand entries at once; equal facts equally.

    An array of arrays each, as `encoded_facts` writes them. What is packed already is not touched.
    """
    if isinstance(entries, PackedEntries):
        yield from entries.pieces
    else:
        yield from map(encoded_facts, _parts(entries))


def encoded_facts(facts: object) -> bytes:
    """Return facts as bytes that are equal for equal facts.

    MessagePack, or JSON where a number outgrows 64 bits: nanoseconds since 1970 do so in the year
    2554, and some file systems keep later times.
    """
    try:
        return _encode(facts)
    except OverflowError:
        return msgspec.json.encode(facts)


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    if len(entries) <= _AT_ONCE:
        yield entries
    else:
        for at in range(0, len(entries), _AT_ONCE):
            yield entries[at : at + _AT_ONCE]
