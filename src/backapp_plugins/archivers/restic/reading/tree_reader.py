"""Loads trees one at a time, as a walk needs them, without a request for each.

The trees of one backup stand side by side in few packs. So whole stretches of packs are read and
kept for a while; from a distant repository whole packs, which then stay on this machine.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import final

from backapp_core.plugin_api import DamagedRepository, HasFolder, ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.index.index import Index, Location
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.blob_reader import BlobReader
from backapp_plugins.archivers.restic.reading.pack_cache import PackCache
from backapp_plugins.archivers.restic.reading.wanted import MOST_BLOB_BYTES, Wanted

_STRETCH_BYTES = 256 << 10
_FAR_STRETCH_BYTES = 1 << 20
_KEPT_BYTES = 8 << 20
_LOOKED_AHEAD = 512
"""Of so many trees that come next the packs are fetched along."""
_PACKS_AHEAD = 8
_MOST_BYTES = MOST_BLOB_BYTES[BlobKind.TREE]


@final
class TreeReader:
    """Returns the JSON of trees, verified; used by one thread at a time."""

    def __init__(self, place: Place, index: Index) -> None:
        self._place = place
        self._index = index
        self._reader = BlobReader(place, index)
        self._cache: PackCache | None = None
        self._stretch_bytes = _STRETCH_BYTES
        if not isinstance(place.transport, HasFolder):
            self._stretch_bytes = _FAR_STRETCH_BYTES
            self._cache = PackCache(place)
            self._cache.keep_only(index.table())
        self._stretches: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()

    def load(self, tree_id: bytes, coming: Iterable[bytes] = ()) -> bytes:
        """Return a tree as it was written.

        Args:
            tree_id: Which.
            coming: The trees that will probably be wanted next.

        Raises:
            DamagedRepository: If it is whole nowhere; the message names it.
            TransportError: If the destination fails.
        """
        location = next(iter(self._index.locations(BlobKind.TREE, tree_id)), None)
        if location is None or max(location.length, location.uncompressed) > _MOST_BYTES:
            return self._reader.read_one(BlobKind.TREE, tree_id)
        if self._cache is not None and not self._cache.holds(location.pack_id):
            self._cache.fetch(self._packs_ahead(self._cache, location.pack_id, coming))
        try:
            sealed = self._sealed(location)
            return self._place.codec.decode(sealed, location.uncompressed, tree_id)
        except (BlobBroken, ObjectMissing, TransferCut) as error:
            # What was read along is not to be trusted either.
            self._stretches.clear()
            if self._cache is not None:
                self._cache.drop(location.pack_id)
            reason = str(error)
        pack_id, *place = location
        tree = self._reader.read_again(BlobKind.TREE, pack_id, Wanted(tree_id, *place), reason)
        if isinstance(tree, DamagedRepository):
            raise tree
        return tree

    def report(self) -> None:
        """Tell people of what came damaged and could be had nevertheless."""
        self._reader.report()

    def _sealed(self, location: Location) -> bytes:
        pack_id, offset, length, _ = location
        size_bytes = self._stretch_bytes
        if length > size_bytes:
            return self._read(pack_id, offset, length)
        number, start = divmod(offset, size_bytes)
        end = start + length
        sealed = self._stretch(pack_id, number)[start:end]
        if end > size_bytes:
            sealed += self._stretch(pack_id, number + 1)[: end - size_bytes]
        return sealed

    def _stretch(self, pack_id: bytes, number: int) -> bytes:
        key = (pack_id, number)
        stretch = self._stretches.get(key)
        if stretch is not None:
            self._stretches.move_to_end(key)
            return stretch
        stretch = self._read(pack_id, number * self._stretch_bytes, self._stretch_bytes)
        self._stretches[key] = stretch
        if len(self._stretches) * self._stretch_bytes > _KEPT_BYTES:
            self._stretches.popitem(last=False)
        return stretch

    def _read(self, pack_id: bytes, offset: int, length: int) -> bytes:
        if self._cache is not None and self._cache.holds(pack_id):
            return self._cache.read(pack_id, offset, length)
        return self._place.transport.read(pack_name(pack_id), offset=offset, length_bytes=length)

    def _packs_ahead(
        self, cache: PackCache, pack_id: bytes, coming: Iterable[bytes]
    ) -> Iterable[bytes]:
        """Return the pack that is wanted and a few that will be."""
        packs = {pack_id: None}
        for tree_id in islice(coming, _LOOKED_AHEAD):
            for location in self._index.locations(BlobKind.TREE, tree_id)[:1]:
                if not cache.holds(location.pack_id):
                    packs[location.pack_id] = None
            if len(packs) == _PACKS_AHEAD:
                break
        return packs
