"""Reads what trees refer to, of very many trees at once."""

from collections.abc import Iterator
from typing import final

import numpy as np

from backapp_core.plugin_api import DamagedRepository, HasFolder, ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.blobs import BlobBroken
from backapp_plugins.archivers.restic.index import Index
from backapp_plugins.archivers.restic.index_ids import Rows
from backapp_plugins.archivers.restic.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.pack_cache import PackCache
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading import BlobReader, Content, Wanted
from backapp_plugins.archivers.restic.spans import Span, spans
from backapp_plugins.archivers.restic.tree_links import Links, links_of
from backapp_plugins.archivers.restic.trees import TreeBroken


@final
class LinkReader:
    """Reads trees in the order in which they stand in packs; used by one thread at a time."""

    def __init__(self, place: Place, index: Index) -> None:
        self._place = place
        self._table = index.table()
        self._reader = BlobReader(place, index)
        self._cache = None if isinstance(place.transport, HasFolder) else PackCache(place)

    def read(self, rows: Rows) -> Iterator[tuple[Span, list[Links | str]]]:
        """Yield spans of trees with what each tree refers to, or why that is not known.

        Args:
            rows: The trees.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        if self._cache is not None:
            packs = np.unique(self._table.columns.pack_number[rows])
            self._cache.fetch(self._table.columns.pack_id[packs].tolist())
        parts = spans(self._table, rows)
        return in_threads(self._place, lambda span: (span, self._read_span(span)), parts)

    def report(self) -> None:
        """Tell people of what came damaged and could be had nevertheless."""
        self._reader.report()

    def _read_span(self, span: Span) -> list[Links | str]:
        columns, codec = self._table.columns, self._place.codec
        pack_id = columns.pack_id[span.pack_number].tobytes()
        data, reason = self._sealed(pack_id, span)
        found: list[Links | str] = []
        for row in span.rows.tolist():
            tree = Wanted(
                columns.blob_id[row].tobytes(),
                int(columns.offset[row]),
                int(columns.length[row]),
                int(columns.uncompressed[row]),
            )
            at = tree.offset - span.offset
            content: Content
            try:
                sealed = data[at : at + tree.length]
                content = codec.decode(sealed, tree.uncompressed, tree.blob_id)
            except BlobBroken as error:
                broken = reason or str(error)
                content = self._reader.read_again(BlobKind.TREE, pack_id, tree, broken)
            found.append(_links_or_reason(content))
        return found

    def _sealed(self, pack_id: bytes, span: Span) -> tuple[memoryview, str]:
        """Return a part of a pack, as much of it as there is, and what is wrong with it."""
        try:
            if self._cache is not None and self._cache.holds(pack_id):
                sealed = self._cache.read(pack_id, span.offset, span.length)
            else:
                sealed = self._place.transport.read(
                    pack_name(pack_id), offset=span.offset, length_bytes=span.length
                )
        except (ObjectMissing, TransferCut) as error:
            return memoryview(b""), error.message  # each blob is looked for by itself then
        return memoryview(sealed), ""


def _links_or_reason(tree: Content) -> Links | str:
    if isinstance(tree, DamagedRepository):
        return tree.message
    try:
        return links_of(tree)
    except TreeBroken as error:
        return f"what it holds is no tree: {error}"
