"""Reads blobs of one pack with few requests, and decodes them in the thread that read them.

What arrives damaged is read once more, then from other packs that have it, before it is lost.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import TypeAlias, final

from backapp_core.plugin_api import DamagedRepository, Level, ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.index.index import Index, Location
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.wanted import (
    MOST_BLOB_BYTES,
    Wanted,
    is_larger,
    stretches,
)

_TRIES = 2
_TOO_LARGE = "it claims to be too large"


Content: TypeAlias = bytes | DamagedRepository
"""What a blob holds, or why nobody can say."""
Sealed: TypeAlias = memoryview | str
"""A blob as it is stored, or why there is none where it should be."""


@final
class BlobReader:
    """Reads blobs for several threads at once and counts what did not go well at first."""

    def __init__(self, place: Place, index: Index) -> None:
        self._place = place
        self._index = index
        self._lock = threading.Lock()
        self._missing: set[bytes] = set()
        self._healed = 0
        self._replaced = 0

    def read(
        self, kind: BlobKind, pack_id: bytes, wanted: Sequence[Wanted]
    ) -> Iterator[tuple[int, Content]]:
        """Yield the position in ``wanted`` and the content of each blob, every one verified.

        Args:
            kind: What the blobs hold.
            pack_id: The pack that they stand in.
            wanted: The blobs in the order of their offsets.

        Raises:
            TransportError: If the destination fails.
        """
        for at, sealed in self.fetch(kind, pack_id, wanted):
            yield at, self.open(kind, pack_id, wanted[at], sealed)

    def fetch(
        self, kind: BlobKind, pack_id: bytes, wanted: Sequence[Wanted]
    ) -> Iterator[tuple[int, Sealed]]:
        """Yield what stands where the blobs should be, for `open`; arguments are those of `read`.

        Raises:
            TransportError: If the destination fails.
        """
        most = MOST_BLOB_BYTES[kind]
        for first, last in stretches(wanted, most):
            start = wanted[first].offset
            if is_larger(wanted[first], most):
                yield first, _TOO_LARGE
                continue
            length = max(blob.offset + blob.length for blob in wanted[first:last]) - start
            sealed, reason = self._read_span(pack_id, start, length)
            for at in range(first, last):
                _, offset, length, _ = wanted[at]
                offset -= start
                is_there = not reason or offset + length <= len(sealed)
                yield at, sealed[offset : offset + length] if is_there else reason

    def open(self, kind: BlobKind, pack_id: bytes, blob: Wanted, sealed: Sealed) -> Content:
        """Return the content of a blob that was fetched, or of another copy if it is damaged.

        Raises:
            TransportError: If the destination fails.
        """
        if isinstance(sealed, str):
            return self.read_again(kind, pack_id, blob, sealed)
        try:
            return self._place.codec.decode(sealed, blob.uncompressed, blob.blob_id)
        except BlobBroken as error:
            return self.read_again(kind, pack_id, blob, str(error))

    def read_again(self, kind: BlobKind, pack_id: bytes, blob: Wanted, reason: str) -> Content:
        """Return a blob that was tried once, from the same place or from where else it is.

        Args:
            kind: What the blob holds.
            pack_id: The pack that it was read from.
            blob: The blob.
            reason: What was wrong with it.

        Raises:
            TransportError: If the destination fails.
        """
        first = Location(pack_id, *blob[1:])
        others = [one for one in self._index.locations(kind, blob.blob_id) if one != first]
        for place, tries in ((first, 1), *((other, _TRIES) for other in others)):
            if place.pack_id in self._missing:
                reason = f"{pack_name(place.pack_id)} is missing"
                continue
            for _ in range(tries):
                try:
                    content = self._read_at(kind, place, blob.blob_id)
                except (BlobBroken, ObjectMissing, TransferCut) as error:
                    reason = f"in {pack_name(place.pack_id)}: {error}"
                else:
                    self._count(is_same=place is first)
                    return content
        return DamagedRepository(f"{_named(kind, blob.blob_id)} is lost: {reason}")

    def read_one(self, kind: BlobKind, blob_id: bytes) -> bytes:
        """Return one blob from wherever it is whole.

        Raises:
            DamagedRepository: If it is whole nowhere.
            TransportError: If the destination fails.
        """
        locations = self._index.locations(kind, blob_id)
        if not locations:
            raise DamagedRepository(f"{_named(kind, blob_id)} is missing: no index object names it")
        pack_id, *place = locations[0]
        ((_, content),) = self.read(kind, pack_id, [Wanted(blob_id, *place)])
        if isinstance(content, DamagedRepository):
            raise content
        return content

    def report(self) -> None:
        """Tell people of what came damaged and could be had nevertheless."""
        say, address = self._place.say, self._place.transport.address
        if self._healed:
            say(
                Level.WARNING,
                f"{_blobs(self._healed)} came damaged from {address} and whole when read again; "
                "test the connection and this machine's memory",
            )
        if self._replaced:
            say(
                Level.WARNING,
                f"{_blobs(self._replaced)} at {address} could be read from another pack alone; "
                "run check",
            )

    def _read_span(self, pack_id: bytes, offset: int, length: int) -> tuple[memoryview, str]:
        """Return a part of a pack, as much of it as there is, and what is wrong with it."""
        sealed, reason = b"", ""
        for _ in range(_TRIES):
            try:
                part = self._place.transport.read(
                    pack_name(pack_id), offset=offset, length_bytes=length
                )
            except (ObjectMissing, TransferCut) as error:
                reason = error.message
                if isinstance(error, ObjectMissing):
                    self._missing.add(pack_id)
                continue
            self._missing.discard(pack_id)
            sealed = max(sealed, part, key=len)
            if len(sealed) >= length:
                return memoryview(sealed), ""
            reason = "the pack ends before it"
        return memoryview(sealed), reason

    def _read_at(self, kind: BlobKind, place: Location, blob_id: bytes) -> bytes:
        if is_larger(place, MOST_BLOB_BYTES[kind]):
            raise BlobBroken(_TOO_LARGE)
        return self._place.read_at(place, blob_id)

    def _count(self, *, is_same: bool) -> None:
        with self._lock:
            self._healed += is_same
            self._replaced += not is_same


def _named(kind: BlobKind, blob_id: bytes) -> str:
    return f"{kind.name.lower()} blob {blob_id.hex()}"


def _blobs(count: int) -> str:
    return "1 blob" if count == 1 else f"{count:,} blobs"
