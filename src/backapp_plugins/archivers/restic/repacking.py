"""Copies blobs that are needed out of packs that are leaving.

A blob is copied sealed as it is, since the key is the same, after its content was verified: nothing
is compressed or encrypted again. Only trees that were never compressed are, once.
"""

from typing import NamedTuple, final

from backapp_core.plugin_api import DamagedRepository, ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.blobs import BlobBroken
from backapp_plugins.archivers.restic.index import Index
from backapp_plugins.archivers.restic.index_ids import Rows
from backapp_plugins.archivers.restic.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.packing import PackWriter
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.spans import Span, spans

_TRIES = 2


class _Blob(NamedTuple):
    kind: BlobKind
    blob_id: bytes
    sealed: bytes | memoryview
    uncompressed: int


@final
class Repacker:
    """Hands blobs to a writer of packs; used by one thread, works on several."""

    def __init__(self, place: Place, index: Index) -> None:
        self._place = place
        self._index = index
        self._columns = index.table().columns

    def copy(self, rows: Rows, writer: PackWriter) -> None:
        """Copy the blobs of some rows of the index; the caller finishes what is written.

        Raises:
            DamagedRepository: If no whole copy of a blob is left.
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        parts = spans(self._index.table(), rows)
        for _ in in_threads(self._place, lambda span: self._copy_span(span, writer), parts):
            pass

    def _copy_span(self, span: Span, writer: PackWriter) -> None:
        columns = self._columns
        name = pack_name(columns.pack_id[span.pack_number].tobytes())
        try:
            read = self._place.transport.read(name, offset=span.offset, length_bytes=span.length)
        except (ObjectMissing, TransferCut):
            read = b""  # each blob is looked for by itself then
        data = memoryview(read)
        for row in span.rows.tolist():
            at, length = int(columns.offset[row]) - span.offset, int(columns.length[row])
            kind = BlobKind.TREE if row >= columns.tree_start else BlobKind.DATA
            blob = _Blob(
                kind,
                columns.blob_id[row].tobytes(),
                data[at : at + length],
                int(columns.uncompressed[row]),
            )
            try:
                writer.add(*self._verified(blob))
            except BlobBroken:
                writer.add(*self._from_elsewhere(kind, blob.blob_id))

    def _verified(self, blob: _Blob) -> _Blob:
        codec = self._place.codec
        content = codec.decode(blob.sealed, blob.uncompressed, blob.blob_id)
        if blob.uncompressed or blob.kind is BlobKind.DATA or self._place.config.version == 1:
            return blob
        return blob._replace(sealed=codec.encode(content, blob.blob_id), uncompressed=len(content))

    def _from_elsewhere(self, kind: BlobKind, blob_id: bytes) -> _Blob:
        reason = "no index object names it"
        for location in self._index.locations(kind, blob_id):
            name = pack_name(location.pack_id)
            for _ in range(_TRIES):
                try:
                    sealed = self._place.transport.read(
                        name, offset=location.offset, length_bytes=location.length
                    )
                    return self._verified(_Blob(kind, blob_id, sealed, location.uncompressed))
                except (BlobBroken, ObjectMissing, TransferCut) as error:
                    reason = f"in {name}: {error}"
        raise DamagedRepository(
            f"nothing that is needed was deleted, for {kind.name.lower()} blob {blob_id.hex()} is "
            f"lost ({reason}); run check to see which files need it, then repair"
        )
