"""Copies blobs that are needed out of packs that are leaving.

A blob is copied sealed as it is, since the key is the same, after its content was verified: nothing
is compressed or encrypted again. Only trees that were never compressed are, once.
"""

from typing import final

from backapp_core.plugin_api import DamagedRepository
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.index.ids import Rows
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.moved_bytes import MovedBytes
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.blob_reader import BlobReader, Content
from backapp_plugins.archivers.restic.reading.sealed_blobs import SealedBlob, sealed_blobs
from backapp_plugins.archivers.restic.reading.spans import Span, spans
from backapp_plugins.archivers.restic.writing.packing import PackWriter


@final
class Repacker:
    """Hands blobs to a writer of packs; used by one thread, works on several."""

    def __init__(self, place: Place, index: Index, moved: MovedBytes) -> None:
        self._place = place
        self._moved = moved
        self._table = index.table()
        self._reader = BlobReader(place, index)

    def copy(self, rows: Rows, writer: PackWriter) -> None:
        """Copy the blobs of some rows of the index; the caller finishes what is written.

        Raises:
            DamagedRepository: If no whole copy of a blob is left.
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        parts = spans(self._table, rows)
        for _ in in_threads(self._place, lambda span: self._copy_span(span, writer), parts):
            pass
        self._reader.report()

    def _copy_span(self, span: Span, writer: PackWriter) -> None:
        codec, is_compressing = self._place.codec, self._place.config.version > 1
        for blob in sealed_blobs(self._place, self._table, span):
            blob_id, _, _, uncompressed = blob.wanted
            content: Content
            try:
                content = codec.decode(blob.sealed, uncompressed, blob_id)
                is_fine = bool(uncompressed) or blob.kind is BlobKind.DATA or not is_compressing
            except BlobBroken as error:
                content, is_fine = self._read_elsewhere(blob, blob.reason or str(error)), False
            if is_fine:
                writer.add(blob.kind, blob_id, blob.sealed, uncompressed)
            elif is_compressing:
                writer.add(blob.kind, blob_id, codec.encode(content, blob_id), len(content))
            else:
                writer.add(blob.kind, blob_id, codec.seal(content), 0)
            self._moved.add(len(blob.sealed))

    def _read_elsewhere(self, blob: SealedBlob, reason: str) -> bytes:
        content = self._reader.read_again(blob.kind, blob.pack_id, blob.wanted, reason)
        if isinstance(content, DamagedRepository):
            raise DamagedRepository(
                f"nothing that is needed was deleted, but {content.message}; run check to see "
                "which files need it, then repair"
            ) from content
        return content
