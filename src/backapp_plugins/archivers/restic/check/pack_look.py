"""A whole pack held against what the index says of it, by this process or by a worker.

It imports as little as possible, for that is what a worker takes to start.
"""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import accumulate
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from attrs import frozen
from typing_extensions import override

from backapp_plugins.archivers.restic.format.blob_batch import BlobBatch
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey, SealBroken
from backapp_plugins.archivers.restic.format.layout import pack_name
from backapp_plugins.archivers.restic.format.packs import (
    TRAILER_BYTES,
    HeaderBroken,
    decode_trailer,
)
from backapp_plugins.archivers.restic.workers.worker import Service

_CHUNK_BYTES: Final = 1 << 20


class PackClaims(NamedTuple):
    """What a pack must be, whose blobs stand one after another from its beginning."""

    pack_id: bytes
    header: bytes
    """As it stands there, before it is sealed."""
    lengths: Sequence[int]
    """Sealed length of each blob in bytes, in the order of the pack."""
    sizes: Sequence[int]
    """Length of each one's content in bytes; 0 if it is not compressed."""
    blob_ids: Sequence[bytes]
    is_known: Sequence[bool]
    """Of each blob, whether it was verified already: the same bytes stand there, or the pack has
    another hash."""


class PackFaults(NamedTuple):
    """What is wrong with a pack."""

    reason: str
    """Empty if nothing is."""
    bad: Sequence[int] = ()
    """Which blobs are not whole, by their places in the pack."""


def stored_damaged(blob_id: bytes, reason: str) -> str:
    """Return what to say of a pack with a blob that was damaged before the pack was made."""
    return f"was stored damaged: blob {blob_id.hex()}: {reason}"


@final
class PackLook:
    """One look at one pack; holds as much of it as comes in at once, and one blob."""

    def __init__(self, codec: BlobCodec, claims: PackClaims) -> None:
        self._codec = codec
        self._batch = BlobBatch(codec)
        self._claims = claims

    def faults(self, chunks: Iterable[bytes]) -> PackFaults:
        """Verify the pack in the stretches that come in, whatever exceptions these bring."""
        claims = self._claims
        ends = list(accumulate(claims.lengths))
        hasher = sha256()
        bad: dict[int, str] = {}
        parts: list[bytes | memoryview] = []
        size = start = done = 0
        for chunk in chunks:
            hasher.update(chunk)
            parts.append(chunk)
            size += len(chunk)
            first, done = done, bisect_right(ends, size, done)
            if done > first:
                data = memoryview(b"".join(parts))
                bad |= self._broken(data, first, done)
                parts = [data[ends[done - 1] - start :]]
                start = ends[done - 1]
        bad |= dict.fromkeys(range(done, len(ends)), "the pack ends before it")
        if hasher.digest() != claims.pack_id:
            return PackFaults("does not have the content whose hash it is named by", list(bad))
        fault = self._header_fault(b"".join(parts), size) or self._blob_fault(bad)
        return PackFaults(fault, list(bad))

    def _broken(self, data: memoryview, first: int, last: int) -> dict[int, str]:
        """Return which blobs are not whole, by their places, and why.

        Args:
            data: A part of the pack, which begins with a blob.
            first: Place of that blob.
            last: Place of the first blob that is not in the part.
        """
        claims, end = self._claims, 0
        places: list[int] = []
        sealed: list[memoryview] = []
        for place in range(first, last):
            begin, end = end, end + claims.lengths[place]
            if not claims.is_known[place]:
                places.append(place)
                sealed.append(data[begin:end])
        broken = self._batch.broken(
            sealed,
            [claims.sizes[place] for place in places],
            [claims.blob_ids[place] for place in places],
        )
        return {places[at]: reason for at, reason in broken.items()}

    def _blob_fault(self, bad: dict[int, str]) -> str:
        for place, reason in bad.items():
            return stored_damaged(self._claims.blob_ids[place], reason)
        return ""

    def _header_fault(self, tail: bytes, pack_bytes: int) -> str:
        """Return what is wrong with the header, which ends a pack; empty if nothing is."""
        try:
            length = decode_trailer(tail[-TRAILER_BYTES:], pack_bytes)
            sealed = tail[:-TRAILER_BYTES]
            if len(sealed) != length:
                return f"has a header of {length:,} bytes and room for {len(sealed):,}"
            header = self._codec.sealer.open(sealed)
        except (HeaderBroken, SealBroken) as error:
            return f"has a damaged header: {error}"
        is_same = header == self._claims.header
        return "" if is_same else "lists other blobs in its header than the index does"


@final
@frozen
class PackReading(Service):
    """What a worker does for a check: it is sent `PackClaims` and answers whether they are true.

    Whoever asked finds the words for what is wrong. None is the answer if the pack cannot be read.
    """

    key: MasterKey
    folder: Path
    """Where objects are files on this machine."""

    @override
    def serve(self, connection: "Connection[Any, Any]") -> None:
        codec = BlobCodec(self.key, os.urandom)
        while True:
            claims = PackClaims(*connection.recv())
            try:
                faults = PackLook(codec, claims).faults(self._chunks(claims.pack_id))
            except OSError:
                connection.send(None)
            else:
                connection.send(not faults.reason)

    def _chunks(self, pack_id: bytes) -> Iterator[bytes]:
        # What is no file is not waited for.
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        pack = os.open(self.folder / pack_name(pack_id), flags)
        try:
            while chunk := os.read(pack, _CHUNK_BYTES):
                yield chunk
        finally:
            os.close(pack)
