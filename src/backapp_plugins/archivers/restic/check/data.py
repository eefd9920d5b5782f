"""Reads whole packs, and notes what is wrong with them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, final

import numpy as np

from backapp_core.plugin_api import Level, ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.check.damage import Damage
from backapp_plugins.archivers.restic.check.pack_look import (
    PackClaims,
    PackFaults,
    PackLook,
    stored_damaged,
)
from backapp_plugins.archivers.restic.check.pack_readers import PackReaders
from backapp_plugins.archivers.restic.check.packs import PackCheck
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.layout import pack_name
from backapp_plugins.archivers.restic.format.packs import encode_header
from backapp_plugins.archivers.restic.index.ids import ID
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


@final
class DataCheck:
    """Reads packs on several threads, or has workers read them."""

    def __init__(
        self,
        place: Place,
        packs: PackTable,
        stored: PackCheck,
        damage: Damage,
        readers: PackReaders,
    ) -> None:
        self._place = place
        self._packs = packs
        self._columns = packs.table.columns
        self._stored = stored
        self._damage = damage
        self._readers = readers
        self._healed: list[int] = []

    def run(self, numbers: Iterable[int]) -> Iterator[int]:
        """Return an iterator of the size in bytes of each pack once it is read and verified.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        return in_threads(self._place, self._check, numbers)

    def tell_of_healed(self) -> None:
        """Say how many packs came damaged and then whole, if any did."""
        if self._healed:
            self._place.say(
                Level.WARNING,
                f"{len(self._healed):,} packs came damaged from {self._place.transport.address} "
                "and whole when read again; test the connection and this machine's memory",
            )

    def _check(self, number: int) -> int:
        rows = self._packs.rows_of(number)
        if self._stored.is_consecutive[number] and not self._damage.is_bad[rows].any():
            claims = self._claims(number)
            is_true = self._readers.is_true(claims)
            if not is_true:
                # What a worker saw of a pack that is not as claimed was the first of the tries.
                tries_done = 0 if is_true is None else 1
                self._try(number, lambda: self._look(claims), tries_done)
        else:
            self._try(number, lambda: self._look_at_each(number), 0)
        return int(self._stored.listed_bytes[number])

    def _try(self, number: int, look: Callable[[], PackFaults], tries_done: int) -> None:
        rows = self._packs.rows_of(number)
        for attempt in range(tries_done, _TRIES):
            try:
                faults = look()
            except (ObjectMissing, TransferCut) as error:
                faults = PackFaults(f"cannot be read: {error.message}", range(len(rows)))
            if not faults.reason:
                if attempt:
                    self._healed.append(number)
                return
            if attempt:
                self._damage.pack(number, faults.reason, rows[list(faults.bad)].tolist())

    def _look(self, claims: PackClaims) -> PackFaults:
        """Verify a pack whose blobs stand one after another."""
        look = PackLook(self._place.codec, claims)
        return look.faults(self._place.transport.get(pack_name(claims.pack_id)))

    def _claims(self, number: int) -> PackClaims:
        rows, columns = self._packs.rows_of(number), self._columns
        return PackClaims(
            self._packs.pack_id(number),
            self._header(number),
            columns.length[rows].tolist(),
            columns.uncompressed[rows].tolist(),
            columns.blob_id[rows].tolist(),
            self._damage.is_whole[rows].tolist(),
        )

    def _header(self, number: int) -> bytes:
        rows, columns = self._packs.rows_of(number), self._columns
        if not columns.uncompressed[rows].all():
            return encode_header(self._packs.entries(number))
        header = np.empty(len(rows), _HEADER_ENTRY)
        header["type"] = _COMPRESSED_TYPE + (rows >= columns.tree_start)
        for name in ("length", "uncompressed", "blob_id"):
            header[name] = getattr(columns, name)[rows]
        return header.tobytes()

    def _look_at_each(self, number: int) -> PackFaults:
        """Verify a pack that is not as the index says, blob by blob."""
        reason, bad = "", list[int]()
        rows = self._packs.rows_of(number).tolist()
        pack_id = self._packs.pack_id(number)
        for place, (row, entry) in enumerate(zip(rows, self._packs.entries(number), strict=True)):
            location = Location(pack_id, entry.offset, entry.length, entry.uncompressed)
            try:
                if not self._damage.is_bad[row]:
                    self._place.read_at(location, entry.blob_id)
            except BlobBroken as error:
                reason = reason or stored_damaged(entry.blob_id, str(error))
                bad.append(place)
        return PackFaults(reason or "is not as the index says", bad)
