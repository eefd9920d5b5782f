"""Reads what a pack says of itself, for when the index cannot say it."""

from backapp_plugins.archivers.restic.format.crypto import SealBroken
from backapp_plugins.archivers.restic.format.layout import pack_name
from backapp_plugins.archivers.restic.format.packs import (
    TRAILER_BYTES,
    HeaderBroken,
    decode_header,
    decode_trailer,
)
from backapp_plugins.archivers.restic.place import Place

_TAIL_BYTES = 64 << 10
"""Holds the header of nearly every pack, so that one request does."""
_TRIES = 2


def read_header(place: Place, pack_id: bytes, pack_bytes: int) -> bytes:
    """Return a pack's header as `decode_header` takes it, read again if it seems damaged.

    In this form it takes the least memory. Its blobs fill the pack.

    Raises:
        HeaderBroken: If it has no header that fits.
        ObjectMissing: If there is no such pack.
        TransportError: If the destination fails.
    """
    for _ in range(_TRIES - 1):
        try:
            return _read_once(place, pack_id, pack_bytes)
        except HeaderBroken:
            continue
    return _read_once(place, pack_id, pack_bytes)


def _read_once(place: Place, pack_id: bytes, pack_bytes: int) -> bytes:
    tail = _read_tail(place, pack_id, pack_bytes, _TAIL_BYTES)
    length = decode_trailer(tail[-TRAILER_BYTES:], pack_bytes)
    if length + TRAILER_BYTES > len(tail):
        tail = _read_tail(place, pack_id, pack_bytes, length + TRAILER_BYTES)
    try:
        header = place.codec.sealer.open(tail[-TRAILER_BYTES - length : -TRAILER_BYTES])
    except SealBroken as error:
        raise HeaderBroken(str(error)) from error
    entries = decode_header(header)
    blob_bytes = entries[-1].offset + entries[-1].length if entries else 0
    if blob_bytes != pack_bytes - TRAILER_BYTES - length:
        raise HeaderBroken("its blobs do not add up to the size of the pack")
    return header


def _read_tail(place: Place, pack_id: bytes, pack_bytes: int, wanted_bytes: int) -> bytes:
    offset = max(pack_bytes - wanted_bytes, 0)
    return place.transport.read(pack_name(pack_id), offset=offset, length_bytes=pack_bytes - offset)
