"""Pack files: sealed blobs one after another, then a sealed header that lists them.

``blob … blob || sealed header || length of the sealed header (4 bytes, little-endian)``. Offsets
are not written: they follow from the lengths, so there are no gaps.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from backapp_plugins.archivers.restic.format.layout import SEAL_BYTES, BlobKind

PLAIN_ENTRY_BYTES = 37
COMPRESSED_ENTRY_BYTES = 41
TRAILER_BYTES = 4
MAX_HEADER_BYTES = 16 << 20
_COMPRESSED = 2
_PLAIN = struct.Struct("<BI32s")
_PACKED = struct.Struct("<BII32s")
_LENGTH = struct.Struct("<I")


class HeaderBroken(ValueError):
    """What should be the header of a pack is none."""


class PackEntry(NamedTuple):
    """One blob of a pack."""

    kind: BlobKind
    blob_id: bytes
    offset: int
    length: int
    """Sealed length in bytes."""
    uncompressed: int
    """Length of the content in bytes; 0 if it was not compressed."""


def encode_header(entries: Iterable[PackEntry]) -> bytes:
    """Return the header before it is sealed."""
    return b"".join(
        _PACKED.pack(entry.kind | _COMPRESSED, entry.length, entry.uncompressed, entry.blob_id)
        if entry.uncompressed
        else _PLAIN.pack(entry.kind, entry.length, entry.blob_id)
        for entry in entries
    )


def encode_trailer(sealed_header: bytes) -> bytes:
    """Return the last four bytes of a pack."""
    return _LENGTH.pack(len(sealed_header))


def decode_trailer(trailer: bytes | memoryview, pack_bytes: int) -> int:
    """Return how long the sealed header is, from the last four bytes of a pack.

    Raises:
        HeaderBroken: If that cannot be.
    """
    if len(trailer) != TRAILER_BYTES:
        raise HeaderBroken("the pack is too short for a header")
    length = int(_LENGTH.unpack(trailer)[0])
    least = SEAL_BYTES + PLAIN_ENTRY_BYTES
    if not least <= length <= min(pack_bytes - TRAILER_BYTES, MAX_HEADER_BYTES):
        raise HeaderBroken(f"the header cannot be {length} bytes long")
    return length


def decode_header(header: bytes) -> list[PackEntry]:
    """Return the blobs that an opened header lists, in the order of the file.

    Raises:
        HeaderBroken: If it is no header.
    """
    entries: list[PackEntry] = []
    at = offset = 0
    while at < len(header):
        kind = header[at]
        try:
            if kind < _COMPRESSED:
                _, length, blob_id = _PLAIN.unpack_from(header, at)
                uncompressed = 0
                at += PLAIN_ENTRY_BYTES
            else:
                _, length, uncompressed, blob_id = _PACKED.unpack_from(header, at)
                at += COMPRESSED_ENTRY_BYTES
            blob_kind = BlobKind(kind & ~_COMPRESSED)
        except (struct.error, ValueError) as error:
            raise HeaderBroken(f"the header is malformed at byte {at}") from error
        if length < SEAL_BYTES:
            raise HeaderBroken(f"a blob cannot be {length} bytes long")
        entries.append(PackEntry(blob_kind, blob_id, offset, length, uncompressed))
        offset += length
    return entries


def header_bytes(entries: Sequence[PackEntry]) -> int:
    """Return how many bytes a pack has beside its blobs."""
    compressed = sum(1 for entry in entries if entry.uncompressed)
    return (
        SEAL_BYTES
        + TRAILER_BYTES
        + COMPRESSED_ENTRY_BYTES * compressed
        + PLAIN_ENTRY_BYTES * (len(entries) - compressed)
    )
