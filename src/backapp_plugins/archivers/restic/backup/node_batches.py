"""Nodes of a very large directory, put away compressed until its tree is made.

A node takes half a kilobyte, so that those of a million files would fill the memory of a machine
that backs up well otherwise. Compressed they take a tenth of it.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, final

import msgspec
import zstandard

NamedNode: TypeAlias = tuple[bytes, bytes]
"""What an entry is called, and the JSON of its node."""
BATCH_NODES = 4096
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[NamedNode]).decode


@final
class NodeBatches:
    """Takes nodes in any order and gives them back in the order of their names.

    They should come almost in order: while they are given back, all batches are opened that have
    names on both sides of the present one. Used by one thread at a time.
    """

    __slots__ = ("_packed",)

    def __init__(self) -> None:
        self._packed: list[tuple[bytes, bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._packed)

    def put_away(self, nodes: Sequence[NamedNode]) -> None:
        """Take some nodes, of different names."""
        ordered = sorted(nodes)
        self._packed.append((ordered[0][0], pack_batch(ordered)))

    def merged(self, others: Iterable[NamedNode]) -> Iterator[NamedNode]:
        """Yield all nodes and ``others``, which are in order, in the order of their names."""
        batches = sorted(self._packed, reverse=True)
        rest = iter(others)
        heap: list[tuple[NamedNode, int, Iterator[NamedNode]]] = []
        _push(heap, 0, rest)
        while heap or batches:
            while batches and (not heap or batches[-1][0] < heap[0][0][0]):
                _push(heap, len(batches), iter(open_batch(batches.pop()[1])))
            node, number, source = heapq.heappop(heap)
            yield node
            _push(heap, number, source)


def _push(
    heap: list[tuple[NamedNode, int, Iterator[NamedNode]]],
    number: int,
    source: Iterator[NamedNode],
) -> None:
    node = next(source, None)
    if node is not None:
        heapq.heappush(heap, (node, number, source))


def pack_batch(nodes: Sequence[NamedNode]) -> bytes:
    """Return some thousand nodes in a tenth of the memory."""
    packed = zstandard.ZstdCompressor(level=3).compress(_encode(nodes))
    # What the library returns keeps room for the worst case, which is ten times as much.
    return bytes(memoryview(packed))


def open_batch(packed: bytes) -> list[NamedNode]:
    """Return the nodes that were packed."""
    return _decode(zstandard.ZstdDecompressor().decompress(packed))
