"""Reads whole packs: their hash, their header, and every blob in them."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, final

import numpy as np

from backapp_core.plugin_api import Level, ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.check.damage import Damage
from backapp_plugins.archivers.restic.check.packs import PackCheck
from backapp_plugins.archivers.restic.check.sealed import BlobBatch
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.crypto import SealBroken
from backapp_plugins.archivers.restic.format.layout import pack_name
from backapp_plugins.archivers.restic.format.packs import (
    TRAILER_BYTES,
    HeaderBroken,
    decode_trailer,
    encode_header,
)
from backapp_plugins.archivers.restic.index.ids import ID, Numbers
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.index.table import Location
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place

_TRIES = 2
"""One bad transfer is no damage; two of the same pack are."""
_HEADER_ENTRY: Final = np.dtype(
    [("type", "u1"), ("length", "<u4"), ("uncompressed", "<u4"), ("blob_id", ID)]
)
"""A compressed blob in a header; of other blobs entries are shorter."""
_COMPRESSED_TYPE: Final = 2


class _Faults(NamedTuple):
    """What was wrong with a pack in one attempt."""

    reason: str
    """Empty if nothing was."""
    bad_rows: Sequence[int] = ()


@final
class DataCheck:
    """Reads packs on several threads, and notes what is wrong with them."""

    def __init__(self, place: Place, packs: PackTable, stored: PackCheck, damage: Damage) -> None:
        self._place = place
        self._packs = packs
        self._columns = packs.table.columns
        self._stored = stored
        self._damage = damage
        self._healed: list[int] = []

    def run(self, numbers: Iterable[int]) -> Iterator[int]:
        """Yield the size in bytes of each pack once it is read and verified.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        yield from in_threads(self._place, self._check, numbers)
        if self._healed:
            self._place.say(
                Level.WARNING,
                f"{len(self._healed):,} packs came damaged from {self._place.transport.address} "
                "and whole when read again; test the connection and this machine's memory",
            )

    def _check(self, number: int) -> int:
        rows = self._packs.rows_of(number)
        is_regular = self._stored.is_consecutive[number] and not self._damage.is_bad[rows].any()
        look = self._look if is_regular else self._look_at_each
        for attempt in range(_TRIES):
            try:
                faults = look(number)
            except (ObjectMissing, TransferCut) as error:
                faults = _Faults(f"cannot be read: {error.message}", rows.tolist())
            if not faults.reason:
                if attempt:
                    self._healed.append(number)
                break
            if attempt:
                self._damage.pack(number, faults.reason, faults.bad_rows)
        return int(self._stored.listed_bytes[number])

    def _look(self, number: int) -> _Faults:
        """Verify a pack whose blobs stand one after another, in the stretches that come in."""
        rows = self._packs.rows_of(number)
        ends = self._columns.offset[rows] + self._columns.length[rows].astype(np.int64)
        hasher = sha256()
        bad: dict[int, str] = {}
        parts: list[bytes | memoryview] = []
        size = start = done = 0
        for chunk in self._place.transport.get(pack_name(self._packs.pack_id(number))):
            hasher.update(chunk)
            parts.append(chunk)
            size += len(chunk)
            first, done = done, int(np.searchsorted(ends, size, side="right"))
            if done > first:
                data = memoryview(b"".join(parts))
                bad |= self._broken(data, start, rows[first:done])
                parts = [data[int(ends[done - 1]) - start :]]
                start = int(ends[done - 1])
        bad |= dict.fromkeys(rows[done:].tolist(), "the pack ends before it")
        if hasher.digest() != self._packs.pack_id(number):
            return _Faults("does not have the content whose hash it is named by", list(bad))
        fault = self._header_fault(number, b"".join(parts), size) or self._blob_fault(bad)
        return _Faults(fault, list(bad))

    def _broken(self, data: memoryview, start: int, rows: Numbers) -> dict[int, str]:
        """Return which blobs are not whole, and why.

        What the way through the trees has verified need not be decoded again: the same bytes stand
        there, or the pack has another hash.

        Args:
            data: A part of the pack.
            start: Where in the pack it begins.
            rows: The blobs in it.
        """
        rows = rows[~self._damage.is_whole[rows]]
        columns = self._columns
        firsts = columns.offset[rows].astype(np.int64) - start
        lasts = firsts + columns.length[rows]
        sealed = [
            data[first:last] for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
        ]
        broken = BlobBatch(self._place.codec).broken(
            sealed, columns.uncompressed[rows].tolist(), columns.blob_id[rows].tolist()
        )
        return {int(rows[place]): reason for place, reason in broken.items()}

    def _blob_fault(self, bad: dict[int, str]) -> str:
        for row, reason in bad.items():
            return f"was stored damaged: blob {bytes(self._columns.blob_id[row]).hex()}: {reason}"
        return ""

    def _header_fault(self, number: int, tail: bytes, pack_bytes: int) -> str:
        """Return what is wrong with the header, which ends a pack; empty if nothing is."""
        try:
            length = decode_trailer(tail[-TRAILER_BYTES:], pack_bytes)
            sealed = tail[:-TRAILER_BYTES]
            if len(sealed) != length:
                return f"has a header of {length:,} bytes and room for {len(sealed):,}"
            header = self._place.codec.sealer.open(sealed)
        except (HeaderBroken, SealBroken) as error:
            return f"has a damaged header: {error}"
        is_same = header == self._expected_header(number)
        return "" if is_same else "lists other blobs in its header than the index does"

    def _expected_header(self, number: int) -> bytes:
        rows, columns = self._packs.rows_of(number), self._columns
        if not columns.uncompressed[rows].all():
            return encode_header(self._packs.entries(number))
        header = np.empty(len(rows), _HEADER_ENTRY)
        header["type"] = _COMPRESSED_TYPE + (rows >= columns.tree_start)
        for name in ("length", "uncompressed", "blob_id"):
            header[name] = getattr(columns, name)[rows]
        return header.tobytes()

    def _look_at_each(self, number: int) -> _Faults:
        """Verify a pack that is not as the index says, blob by blob."""
        bad: dict[int, str] = {}
        rows = self._packs.rows_of(number).tolist()
        pack_id = self._packs.pack_id(number)
        for row, entry in zip(rows, self._packs.entries(number), strict=True):
            location = Location(pack_id, entry.offset, entry.length, entry.uncompressed)
            try:
                if not self._damage.is_bad[row]:
                    self._place.read_at(location, entry.blob_id)
            except BlobBroken as error:
                bad[row] = str(error)
        return _Faults(self._blob_fault(bad) or "is not as the index says", list(bad))
