"""Reads what trees refer to, of very many trees at once."""

from collections.abc import Iterator
from typing import final

from typing_extensions import Buffer

from backapp_core.plugin_api import DamagedRepository, HasFolder
from backapp_plugins.archivers.restic.format.blob_batch import BlobBatch
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.tree_links import Links, links_of
from backapp_plugins.archivers.restic.format.trees import TreeBroken
from backapp_plugins.archivers.restic.index.ids import Rows, distinct
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.blob_reader import BlobReader, Content
from backapp_plugins.archivers.restic.reading.pack_cache import PackCache
from backapp_plugins.archivers.restic.reading.sealed_blobs import SealedBlob, sealed_blobs
from backapp_plugins.archivers.restic.reading.spans import Span, spans


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
            packs = distinct(self._table.columns.pack_number[rows])
            self._cache.fetch(self._table.columns.pack_id[packs].tolist())
        return in_threads(self._place, self._read_span, spans(self._table, rows))

    def report(self) -> None:
        """Tell people of what came damaged and could be had nevertheless."""
        self._reader.report()

    def _read_span(self, span: Span) -> tuple[Span, list[Links | str]]:
        trees = list(sealed_blobs(self._place, self._table, span, self._cache))
        contents = BlobBatch(self._place.codec).decode(
            [tree.sealed for tree in trees],
            [tree.wanted.uncompressed for tree in trees],
            [tree.wanted.blob_id for tree in trees],
        )
        return span, list(map(self._links, trees, contents))

    def _links(self, tree: SealedBlob, found: Buffer | BlobBroken) -> Links | str:
        content: Content
        if isinstance(found, BlobBroken):
            reason = tree.reason or str(found)
            content = self._reader.read_again(tree.kind, tree.pack_id, tree.wanted, reason)
        else:
            content = bytes(found)
        if isinstance(content, DamagedRepository):
            return content.message
        try:
            return links_of(content)
        except TreeBroken as error:
            return f"what it holds is no tree: {error}"
