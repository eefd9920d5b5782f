"""Decodes many blobs of a pack with less work for each than one by one."""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final, final

import zstandard
from typing_extensions import Buffer

from backapp_plugins.archivers.restic.format.blobs import BlobBroken, BlobCodec
from backapp_plugins.archivers.restic.format.crypto import SealBroken

_AT_ONCE_BYTES: Final = 1 << 20
"""Content of so many blobs stays in the processor's cache between decompressing and hashing."""


@final
class BlobBatch:
    """Takes blobs through each stage together; used by one thread at a time.

    A call for all is cheaper, and threads hand the interpreter over less often. Where something is
    wrong, each is decoded by itself.
    """

    def __init__(self, codec: BlobCodec) -> None:
        self._codec = codec
        self._expand_all: Any = zstandard.ZstdDecompressor().multi_decompress_to_buffer

    def decode(
        self, sealed: Sequence[memoryview], sizes: Sequence[int], blob_ids: Sequence[bytes]
    ) -> Iterator[Buffer | BlobBroken]:
        """Yield what each blob holds, or why that cannot be told.

        Args:
            sealed: The blobs as they stand in their pack.
            sizes: Length of each one's content, 0 if it is not compressed.
            blob_ids: What each content must hash to.
        """
        for some in _parts(sizes, sealed):
            contents = self._decode_all(sealed[some], sizes[some], blob_ids[some])
            if contents is None:
                yield from map(self._decode_one, sealed[some], sizes[some], blob_ids[some])
            else:
                for place in range(some.stop - some.start):  # zstandard's answer is no iterable
                    yield contents[place]

    def broken(
        self, sealed: Sequence[memoryview], sizes: Sequence[int], blob_ids: Sequence[bytes]
    ) -> dict[int, str]:
        """Return which of some blobs are not whole, by their places, and why; as `decode` does."""
        faults: dict[int, str] = {}
        for some in _parts(sizes, sealed):
            if self._decode_all(sealed[some], sizes[some], blob_ids[some]) is None:
                for place in range(some.start, some.stop):
                    content = self._decode_one(sealed[place], sizes[place], blob_ids[place])
                    if isinstance(content, BlobBroken):
                        faults[place] = str(content)
        return faults

    def _decode_all(
        self, sealed: Sequence[memoryview], sizes: Sequence[int], blob_ids: Sequence[bytes]
    ) -> Sequence[Buffer] | None:
        """Return all contents if all blobs are whole, and compressed or not without exception."""
        try:
            contents: Sequence[Buffer] = self._codec.sealer.open_all(sealed)
            if all(sizes):
                contents = self._expand_all(
                    contents, decompressed_sizes=array("Q", sizes), threads=1
                )
            elif any(sizes):
                return None
        except (SealBroken, zstandard.ZstdError):
            return None
        for place, blob_id in enumerate(blob_ids):
            if sha256(contents[place]).digest() != blob_id:
                return None
        return contents

    def _decode_one(self, sealed: memoryview, size: int, blob_id: bytes) -> Buffer | BlobBroken:
        try:
            return self._codec.decode(sealed, size, blob_id)
        except BlobBroken as error:
            return error


def _parts(sizes: Sequence[int], sealed: Sequence[memoryview]) -> Iterator[slice]:
    """Yield which blobs are taken together."""
    first = content_bytes = 0
    for place, size in enumerate(sizes):
        content_bytes += size or len(sealed[place])
        if content_bytes > _AT_ONCE_BYTES:
            yield slice(first, place + 1)
            first, content_bytes = place + 1, 0
    if first < len(sizes):
        yield slice(first, len(sizes))
