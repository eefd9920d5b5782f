"""Holds the packs that are there against those that the index names."""

from collections.abc import Iterator
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from backapp_core.plugin_api import ObjectMissing
from backapp_plugins.archivers.restic.check.damage import Damage
from backapp_plugins.archivers.restic.check.findings import Findings
from backapp_plugins.archivers.restic.format.layout import DATA, pack_name
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import distinct
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.wanted import MOST_BLOB_BYTES

_Sizes: TypeAlias = NDArray[np.int64]
_ABSENT: Final = -1


@final
class PackCheck:
    """The packs of the index beside those of the listing."""

    def __init__(self, place: Place, packs: PackTable, damage: Damage, findings: Findings) -> None:
        self._place = place
        self._packs = packs
        self._columns = packs.table.columns
        self._damage = damage
        self._findings = findings
        self.listed_bytes: _Sizes = np.full(len(packs), _ABSENT, np.int64)
        """Size of each pack that the index names; -1 where it is not there."""
        self.listed = 0
        """How many packs are there, whether or not the index names them."""
        self.is_consecutive: Flags = np.ones(len(packs), np.bool_)
        """Of each pack, whether its blobs stand one after another from its beginning."""

    def run(self) -> None:
        """Compare everything, without reading any pack."""
        self._look_up_all()
        self._compare_sizes()
        self._check_order()
        self._refuse_giants()
        self._note_what_is_odd()

    def _look_up_all(self) -> None:
        orphans: list[tuple[bytes, int]] = []
        listed = {
            pack_id: info.size_bytes
            for pack_id, info in self._place.listed(DATA)
            if info.name == pack_name(pack_id)
        }
        self.listed = len(listed)
        numbers = self._packs.table.packs_of(list(listed))
        for (pack_id, size), place in zip(listed.items(), numbers.tolist(), strict=True):
            if place < 0:
                orphans.append((pack_id, size))
            else:
                self.listed_bytes[place] = size
        # A listing may lag behind, so what it lacks is asked for by name.
        missing = np.flatnonzero(self.listed_bytes == _ABSENT)
        sizes = in_threads(self._place, self._size_of, missing.tolist())
        self.listed_bytes[missing] = np.fromiter(sizes, np.int64, len(missing))
        for pack_id, size in sorted(orphans):
            self._findings.note(
                pack_name(pack_id),
                f"{pack_name(pack_id)} ({size:,} bytes) is named by no index object: an "
                "interrupted run left it, one just wrote it, or what named it is lost; if "
                "snapshots lack something, repair index names it again, if not, prune removes it",
                sort="packs are named by no index object",
            )

    def _size_of(self, number: int) -> int:
        try:
            return self._place.transport.stat(pack_name(self._packs.pack_id(number))).size_bytes
        except ObjectMissing:
            return _ABSENT

    def _compare_sizes(self) -> None:
        listed, wanted = self.listed_bytes, self._packs.size_bytes
        # Of a marked pack rustic may not know the blobs, and it may be gone already.
        is_wrong = (listed != wanted) & ~self._columns.pack_is_marked
        for number in np.flatnonzero(is_wrong).tolist():
            if listed[number] != _ABSENT:
                reason = f"has {listed[number]:,} bytes and not {wanted[number]:,}"
            else:
                reason = "is missing"
            self._damage.pack(number, reason)
        end = self._columns.offset.astype(np.int64)
        end += self._columns.length
        self._damage.is_bad |= end > self.listed_bytes[self._columns.pack_number]

    def _refuse_giants(self) -> None:
        """Count as bad what a restore refuses, too, so that nothing here is led to read it."""
        columns = self._columns
        for kind, most in MOST_BLOB_BYTES.items():
            rows = columns.rows_of_kind(kind)
            is_giant = (columns.length[rows] > most) | (columns.uncompressed[rows] > most)
            for row in (np.flatnonzero(is_giant) + rows.start).tolist():
                named = f"{kind.name.lower()} blob {bytes(columns.blob_id[row]).hex()}"
                reason = f"holds {named}, which claims to be larger than any can be"
                self._damage.pack(int(columns.pack_number[row]), reason, [row])

    def _check_order(self) -> None:
        """Look for gaps and overlaps: the header of a pack cannot express them."""
        columns, rows = self._columns, self._packs.rows
        offset = columns.offset[rows]
        wanted = np.zeros(len(rows) + 1, np.int64)
        np.add(offset, columns.length[rows], out=wanted[1:], dtype=np.int64)
        wanted[self._packs.starts[:-1][self._packs.starts[:-1] < len(rows)]] = 0
        is_off = offset != wanted[:-1]
        if not is_off.any():
            return
        for number in distinct(columns.pack_number[rows[is_off]]).tolist():
            self.is_consecutive[number] = False
            self._damage.pack(number, self._order_fault(number))

    def _order_fault(self, number: int) -> str:
        named = ", ".join(f"index/{one.hex()}" for one in self._packs.files_naming(number))
        return f"has gaps or overlapping blobs, if {named} is right"

    def _note_what_is_odd(self) -> None:
        blobs = self._packs.blobs
        for number in np.flatnonzero((blobs > 0).all(axis=0)).tolist():
            name = pack_name(self._packs.pack_id(number))
            self._findings.note(
                name,
                f"{name} holds both trees and data, as old programs wrote it; prune parts them",
                sort="packs hold both trees and data",
            )
        for number in self._named_repeatedly():
            name = pack_name(self._packs.pack_id(number))
            self._findings.note(
                name,
                f"{name} is named more than once in the index, which harms nothing; "
                "prune tidies it",
                sort="packs are named more than once in the index",
            )

    def _named_repeatedly(self) -> Iterator[int]:
        times = np.bincount(self._columns.naming_pack, minlength=len(self._packs))
        yield from np.flatnonzero(times > 1).tolist()
