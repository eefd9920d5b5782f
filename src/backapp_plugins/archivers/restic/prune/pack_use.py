"""How much of each pack is needed, in columns over packs and over the rows of the index."""

from collections.abc import Mapping
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from backapp_core.plugin_api import ObjectMissing
from backapp_plugins.archivers.restic.format.layout import DATA, pack_name
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place

Sizes: TypeAlias = NDArray[np.int64]
_ABSENT = -1


@final
class PackStock:
    """Packs as the index names them beside packs as they are listed."""

    def __init__(self, table: Table, listed: Mapping[bytes, int]) -> None:
        """Compare.

        Args:
            table: What the index says.
            listed: Size of each pack that is there.
        """
        self.table = table
        self.packs = PackTable(table)
        self.blob_bytes: Sizes = self.bytes_of(np.ones(len(table), np.bool_))
        """Length of all blobs of each pack."""
        self.listed_bytes: Sizes = np.full(len(self.packs), _ABSENT, np.int64)
        numbers = table.packs_of(list(listed))
        sizes = np.fromiter(listed.values(), np.int64, len(listed))
        self.listed_bytes[numbers[numbers >= 0]] = sizes[numbers >= 0]
        self.orphans = {
            pack_id: size
            for (pack_id, size), number in zip(listed.items(), numbers.tolist(), strict=True)
            if number < 0
        }
        """Packs that no index object names."""

    @property
    def is_there(self) -> Flags:
        """Of each pack, whether it is listed, with whatever size."""
        is_there: Flags = self.listed_bytes != _ABSENT
        return is_there

    @property
    def is_whole(self) -> Flags:
        """Of each pack, whether it is listed with the size that its blobs add up to."""
        is_whole: Flags = self.listed_bytes == self.packs.size_bytes
        return is_whole

    def listed(self, packs: Flags) -> dict[bytes, int]:
        """Return ids and listed sizes of some packs."""
        ids, sizes = self.table.columns.pack_id[packs], self.listed_bytes[packs]
        return dict(zip(ids.tolist(), sizes.tolist(), strict=True))

    def is_safe(self) -> Flags:
        """Return of each row whether some copy of its blob stands in a whole pack."""
        group = self.group()
        is_safe = np.zeros(len(self.table), np.bool_)  # there are no more groups than rows
        is_safe[group[self.is_whole[self.table.columns.pack_number]]] = True
        return is_safe[group]

    def group(self) -> NDArray[np.int32]:
        """Return of each row a number that it shares with the copies of its blob."""
        group = np.cumsum(~self.table.is_copy(), dtype=np.int32)
        group -= 1
        return group

    def bytes_of(self, rows: Flags) -> Sizes:
        """Return the length of some blobs, per pack."""
        columns = self.table.columns
        lengths = columns.length[rows].astype(np.float64)  # exact up to 2**53
        return np.bincount(columns.pack_number[rows], lengths, len(self.packs)).astype(np.int64)

    def has_any(self, rows: Flags) -> Flags:
        """Return of each pack whether some of these rows are in it."""
        has = np.zeros(len(self.packs), np.bool_)
        has[self.table.columns.pack_number[rows]] = True
        return has


def take_stock(place: Place, table: Table) -> PackStock:
    """Compare index and listing; a pack that the listing lacks is asked for by name.

    Raises:
        TransportError: If the destination fails.
    """
    listed = {
        pack_id: info.size_bytes
        for pack_id, info in place.listed(DATA)
        if info.name == pack_name(pack_id)
    }
    stock = PackStock(table, listed)

    def look_up(number: int) -> int:
        try:
            return place.transport.stat(pack_name(stock.packs.pack_id(number))).size_bytes
        except ObjectMissing:
            return _ABSENT

    absent = np.flatnonzero(~stock.is_there)
    sizes = in_threads(place, look_up, absent.tolist())
    stock.listed_bytes[absent] = np.fromiter(sizes, np.int64, len(absent))
    return stock


def choose_copies(stock: PackStock, needed: Flags) -> Flags:
    """Return the rows that are to stay: of each needed blob one, in a whole pack.

    Of several copies that one is chosen whose pack has the largest needed part, so that packs which
    an interrupted prune had made take the place of those that it made them from.

    Args:
        stock: The packs.
        needed: Which blobs are needed, ticked at the first row of each.
    """
    columns = stock.table.columns
    group = stock.group()
    is_copy = stock.table.is_copy()
    is_needed = needed[~is_copy][group]
    kept = is_needed & stock.is_whole[columns.pack_number]
    copies = np.bincount(group[kept], minlength=len(group))
    several = np.flatnonzero(kept & (copies[group] > 1))
    if not len(several):
        return kept
    share = stock.bytes_of(kept) / np.maximum(stock.blob_bytes, 1)
    kept[several] = False
    alone_bytes = stock.bytes_of(kept)
    number = columns.pack_number[several]
    ranked = np.lexsort(
        (
            number,
            -alone_bytes[number],
            -share[number],
            columns.pack_is_marked[number],
            group[several],
        )
    )
    best = several[ranked]
    is_first = np.ones(len(best), np.bool_)
    is_first[1:] = group[best[1:]] != group[best[:-1]]
    kept[best[is_first]] = True
    return kept
