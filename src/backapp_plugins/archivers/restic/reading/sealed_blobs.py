"""Blobs as they are sealed, many of one pack with one request."""

from collections.abc import Iterator
from typing import NamedTuple

from backapp_core.plugin_api import ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.format.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.pack_cache import PackCache
from backapp_plugins.archivers.restic.reading.spans import Span
from backapp_plugins.archivers.restic.reading.wanted import Wanted


class SealedBlob(NamedTuple):
    """A blob that was read and not opened yet."""

    kind: BlobKind
    pack_id: bytes
    wanted: Wanted
    sealed: memoryview
    """What stands where it should be; nothing if nothing could be read."""
    reason: str
    """Why nothing could be read."""


def sealed_blobs(
    place: Place, table: Table, span: Span, cache: PackCache | None = None
) -> Iterator[SealedBlob]:
    """Yield the blobs of a span, which is read when the first is asked for.

    Args:
        place: The repository.
        table: What the span was made of.
        span: What to read.
        cache: Where the pack may be kept.

    Raises:
        TransportError: If the destination fails.
    """
    columns, rows = table.columns, span.rows
    pack_id = columns.pack_id[span.pack_number].tobytes()
    data, reason = _read(place, pack_id, span, cache)
    facts = (columns.blob_id, columns.offset, columns.length, columns.uncompressed)
    wanted = map(Wanted, *(fact[rows].tolist() for fact in facts))
    for is_tree, one in zip((rows >= columns.tree_start).tolist(), wanted, strict=True):
        at = one.offset - span.offset
        kind = BlobKind.TREE if is_tree else BlobKind.DATA
        yield SealedBlob(kind, pack_id, one, data[at : at + one.length], reason)


def _read(
    place: Place, pack_id: bytes, span: Span, cache: PackCache | None
) -> tuple[memoryview, str]:
    try:
        if cache is not None and cache.holds(pack_id):
            return memoryview(cache.read(pack_id, span.offset, span.length)), ""
        name = pack_name(pack_id)
        sealed = place.transport.read(name, offset=span.offset, length_bytes=span.length)
    except (ObjectMissing, TransferCut) as error:
        return memoryview(b""), error.message  # each blob is looked for by itself then
    return memoryview(sealed), ""
