"""What is wanted of a pack, and in how few requests it is had.

Workers use it, so it needs no numpy, which takes longer to import than all that they have.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from backapp_plugins.archivers.restic.format.layout import MAX_CHUNK_BYTES, BlobKind

GAP_BYTES = 256 << 10
"""What is not wanted between two blobs is read along if it is no more than this."""
SPAN_BYTES = 16 << 20
"""A request asks for no more, unless one blob is larger."""
MOST_BLOB_BYTES = {BlobKind.DATA: 16 * MAX_CHUNK_BYTES, BlobKind.TREE: 1 << 30}
"""More is not made of a blob: what claims so is no chunk and no directory but a trap."""


class Wanted(NamedTuple):
    """A blob, and where it stands in its pack."""

    blob_id: bytes
    offset: int
    length: int
    """Sealed length in bytes."""
    uncompressed: int
    """Length of the content in bytes; 0 if it was not compressed."""


class Claim(Protocol):
    """What an index says of how long a blob is."""

    @property
    def length(self) -> int:
        """Sealed length in bytes."""
        ...

    @property
    def uncompressed(self) -> int:
        """Length of the content in bytes; 0 if it was not compressed."""
        ...


def stretches(blobs: Sequence[Wanted], most_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield which blobs, from which to before which, are read with one request.

    One that is larger than ``most_bytes`` stands alone.
    """
    if not blobs:
        return
    first = 0
    start = end = blobs[0].offset
    was_large = False
    for at, blob in enumerate(blobs):
        is_large = is_larger(blob, most_bytes)
        is_far = blob.offset - end > GAP_BYTES or blob.offset + blob.length - start > SPAN_BYTES
        if at and (is_far or is_large or was_large):
            yield first, at
            first, start = at, blob.offset
        end = blob.offset + blob.length
        was_large = is_large
    yield first, len(blobs)


def is_larger(blob: Claim, most_bytes: int) -> bool:
    """Say whether a blob claims to be larger than that, sealed or not."""
    return blob.length > most_bytes or blob.uncompressed > most_bytes
