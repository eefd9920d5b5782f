"""Objects that hold one sealed JSON document each: indexes, snapshots, locks, the description.

In version 2 the document is compressed and begins with the byte 2; a document as it stands begins
with a bracket and is read in every version.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

import zstandard

from backapp_core.plugin_api import DamagedRepository
from backapp_plugins.archivers.restic.format.blobs import (
    LEVEL,
    BlobBroken,
    BlobCodec,
    altered_here,
    comes_back,
)
from backapp_plugins.archivers.restic.format.crypto import SealBroken

_COMPRESSED = 0x02
_BRACKETS = b"{["
_TRIES = 2
_MOST_BYTES = 1 << 30
"""More is not made of a document: a small object that claims so is no document but a trap."""


class DocumentBroken(ValueError):
    """What should hold a document does not."""


def seal_document(codec: BlobCodec, document: bytes, *, version: int) -> bytes:
    """Return the bytes of the object that holds ``document``, after proving that it comes back.

    Raises:
        DamagedRepository: If it does not, twice: memory or a library of this machine is broken.
    """
    return codec.seal(_compressed(codec, document) if version > 1 else document)


class Pieces(NamedTuple):
    """A document that need not stand in memory as a whole."""

    each: Callable[[], Iterator[bytes]]
    """Yields it, the same each time."""
    size_bytes: int


def seal_pieces(codec: BlobCodec, document: Pieces, *, version: int) -> bytes:
    """Return what `seal_document` returns, in a fraction of the memory.

    Raises:
        DamagedRepository: If it does not come back, twice.
    """
    if version == 1:
        return codec.seal(b"".join(document.each()))
    for _ in range(_TRIES):
        compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj(size=document.size_bytes)
        packed, digest = bytearray([_COMPRESSED]), sha256()
        for piece in document.each():
            digest.update(piece)
            packed += compressor.compress(piece)
        packed += compressor.flush()
        if comes_back(memoryview(packed)[1:], document.size_bytes, digest.digest()):
            return codec.seal(packed)
    raise DamagedRepository(altered_here("a document"))


def seal_description(codec: BlobCodec, document: bytes) -> bytes:
    """Return the bytes of ``config``, which is never compressed.

    Raises:
        DamagedRepository: If they do not open any more: memory or a library is broken here.
    """
    return codec.seal(document)


def open_document(codec: BlobCodec, sealed: bytes) -> bytes:
    """Return the document that an object holds.

    Raises:
        DocumentBroken: If the object was altered or holds something else.
    """
    try:
        plain = codec.sealer.open_view(sealed)
    except SealBroken as error:
        raise DocumentBroken(str(error)) from error
    first = plain[0] if plain else 0
    if first in _BRACKETS:
        return bytes(plain)
    if first != _COMPRESSED:
        raise DocumentBroken("it begins with neither a bracket nor the byte 2")
    packed = plain[1:]
    try:
        declared = zstandard.frame_content_size(packed)
    except zstandard.ZstdError as error:
        raise DocumentBroken(f"it cannot be decompressed: {error}") from error
    if 0 <= declared <= _MOST_BYTES:
        try:
            return codec.expand(packed, declared)
        except BlobBroken as error:
            raise DocumentBroken(str(error)) from error
    return _expand_unknown(packed)


def _compressed(codec: BlobCodec, document: bytes) -> bytes:
    for _ in range(_TRIES):
        packed = zstandard.ZstdCompressor(level=LEVEL).compress(document)
        try:
            if codec.expand(packed, len(document)) == document:
                return bytes([_COMPRESSED]) + packed
        except BlobBroken:
            continue
    raise DamagedRepository(altered_here("a document"))


def _expand_unknown(packed: memoryview) -> bytes:
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
            document = reader.read(_MOST_BYTES + 1)
    except zstandard.ZstdError as error:
        raise DocumentBroken(f"it cannot be decompressed: {error}") from error
    if len(document) > _MOST_BYTES:
        raise DocumentBroken(f"it decompresses to more than {_MOST_BYTES} bytes")
    return document
