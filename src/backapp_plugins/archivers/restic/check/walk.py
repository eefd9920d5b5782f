"""The way through the trees of many snapshots: each distinct tree once, level by level.

So a level is read in the order in which its trees stand in packs, and no tree can lead astray: one
that stands in many places, or claims to be in itself, is met once.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar, final

import numpy as np

from backapp_core.plugin_api import ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.check.damage import Damage
from backapp_plugins.archivers.restic.format.blob_batch import BlobBatch
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import Rows, distinct
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.spans import Span, spans

_TRIES = 2
"""One bad transfer is no damage; two of the same blob are."""
_Found = TypeVar("_Found")


@final
class TreeSource:
    """Reads trees, and notes which copies are damaged; for several threads at once."""

    def __init__(self, place: Place, table: Table, damage: Damage) -> None:
        self._place = place
        self._table = table
        self._damage = damage

    def read(self, span: Span) -> Iterator[tuple[int, bytes | None]]:
        """Yield row and content of each tree of a span; None where no copy is whole.

        Raises:
            TransportError: If the destination fails.
        """
        columns, rows = self._table.columns, span.rows
        facts = (columns.blob_id, columns.offset, columns.length, columns.uncompressed)
        blob_ids, offsets, lengths, sizes = (fact[rows].tolist() for fact in facts)
        data = self._read_span(span)
        sealed = [
            data[offset - span.offset : offset - span.offset + length]
            for offset, length in zip(offsets, lengths, strict=True)
        ]
        contents = BlobBatch(self._place.codec).decode(sealed, sizes, blob_ids)
        for row, content, blob_id in zip(rows.tolist(), contents, blob_ids, strict=True):
            if isinstance(content, BlobBroken):
                yield row, self._read_again(row, blob_id)
            else:
                self._damage.is_whole[row] = True
                yield row, bytes(content)

    def _read_span(self, span: Span) -> memoryview:
        """Return a part of a pack, or what there is of it: each tree is tried by itself then."""
        if self._damage.is_bad[span.rows].all():
            return memoryview(b"")
        name = pack_name(bytes(self._table.columns.pack_id[span.pack_number]))
        try:
            return memoryview(
                self._place.transport.read(name, offset=span.offset, length_bytes=span.length)
            )
        except (ObjectMissing, TransferCut):
            return memoryview(b"")

    def _read_again(self, first: int, blob_id: bytes) -> bytes | None:
        copies = self._table.locations(BlobKind.TREE, blob_id)
        for row, location in enumerate(copies, start=first):
            reason = ""
            for _ in range(_TRIES - (row == first)):
                if self._damage.is_bad[row]:
                    break
                try:
                    return self._place.read_at(location, blob_id)
                except (BlobBroken, ObjectMissing, TransferCut) as error:
                    reason = f"does not hold tree {blob_id.hex()} any more: {error}"
            if reason:
                number = int(self._table.columns.pack_number[row])
                self._damage.pack(number, reason, [row])
        return None


def walk(
    place: Place,
    table: Table,
    first: Rows,
    work: Callable[[Span], _Found],
    take: Callable[[_Found], Rows],
) -> Flags:
    """Meet every tree that can be reached once; return which rows those are.

    Args:
        place: The repository.
        table: Where its trees are.
        first: Rows of the trees to begin with.
        work: Reads what stands in a span; called from several threads.
        take: Told what ``work`` found, in one thread; returns the rows of trees that it leads to.

    Raises:
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    is_met = np.zeros(len(table), np.bool_)
    level = distinct(first)
    while len(level):
        is_met[level] = True
        found = [take(one) for one in in_threads(place, work, spans(table, level))]
        following = distinct(np.concatenate(found))
        level = following[~is_met[following]]
    return is_met
