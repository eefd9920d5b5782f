"""Writes index objects anew that name packs which are leaving or were marked."""

from collections.abc import Container, Iterable
from typing import final

import numpy as np

from backapp_core.plugin_api import StorageFull
from backapp_plugins.archivers.restic.index_columns import Flags
from backapp_plugins.archivers.restic.index_files import MarkedPack, encode_indexes
from backapp_plugins.archivers.restic.index_ids import Rows
from backapp_plugins.archivers.restic.index_packs import PackTable
from backapp_plugins.archivers.restic.layout import INDEX, MAX_INDEX_BLOBS
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune_plan import PrunePlan


@final
class IndexRewriter:
    """The index objects of one run that changes them, perhaps in several steps.

    New objects are stored before old ones go, so at any moment every blob that is needed is named.
    """

    def __init__(
        self, place: Place, packs: PackTable, joined: Container[str] | None = None
    ) -> None:
        """Begin with what stands there.

        Args:
            place: The repository.
            packs: What its index objects name.
            joined: Names of objects that may be written anew although nothing in them changes; None
                for all.
        """
        columns = packs.table.columns
        self._place = place
        self._packs = packs
        self._originals = np.ones(len(columns.file_id), np.bool_)
        """Which of the objects that the table was read from still stand."""
        self._written: list[bytes] = []
        self._in_written = np.zeros(len(packs), np.bool_)
        """Which packs those objects name that were written since."""
        blobs = packs.blobs.sum(axis=0)[columns.naming_pack]
        counts = np.bincount(columns.naming_file, blobs, len(columns.file_id))
        self._is_joined = counts < MAX_INDEX_BLOBS
        if joined is not None:
            for number, file_id in enumerate(columns.file_id.tolist()):
                self._is_joined[number] &= INDEX + file_id.hex() in joined

    def join_nothing(self) -> None:
        """From now on write no object anew in which nothing changes: there is little room."""
        self._is_joined[:] = False

    def outdated(self, changed: Flags) -> list[bytes]:
        """Return the ids of objects that are written anew when these packs change.

        If there are any, objects that are not full are among them, to be joined.
        """
        files = np.flatnonzero(self._outdated(changed))
        return [*self._packs.table.columns.file_id[files].tolist(), *self._written]

    def write(self, plan: PrunePlan) -> list[str]:
        """Store new objects and return the names of those that have to be deleted then.

        Raises:
            StorageFull: If there is no room; what was stored is taken back.
        """
        columns = self._packs.table.columns
        outdated = self._outdated(plan.fates.changed)
        named = self._in_written.copy()
        named[columns.naming_pack[outdated[columns.naming_file]]] = True
        named &= ~plan.fates.deleted
        goes_on_marked = columns.pack_is_marked & ~plan.fates.recovered
        is_marked = named & (plan.fates.marked | goes_on_marked)
        old = self.outdated(plan.fates.changed)
        self._written = self._store(plan, np.flatnonzero(named & ~is_marked), is_marked)
        self._originals &= ~outdated
        self._in_written = named
        return [INDEX + file_id.hex() for file_id in old]

    def _outdated(self, changed: Flags) -> Flags:
        columns = self._packs.table.columns
        outdated = np.zeros_like(self._originals)
        outdated[columns.naming_file[changed[columns.naming_pack]]] = True
        outdated &= self._originals
        if outdated.any() or self._written:
            outdated |= self._originals & self._is_joined
        return outdated

    def _store(self, plan: PrunePlan, kept: Rows, is_marked: Flags) -> list[bytes]:
        packs = ((self._packs.pack_id(one), self._packs.entries(one)) for one in kept.tolist())
        stored: list[bytes] = []
        try:
            for document in encode_indexes(packs, self._marked(plan, is_marked)):
                index_id, _ = self._place.write_document(INDEX, document)
                stored.append(index_id)
        except StorageFull:
            for index_id in stored:
                self._place.transport.delete(INDEX + index_id.hex())
            raise
        return stored

    def _marked(self, plan: PrunePlan, is_marked: Flags) -> Iterable[MarkedPack]:
        for number in np.flatnonzero(is_marked).tolist():
            pack = self._packs.marked(number)
            if plan.fates.renewed[number]:
                pack = pack._replace(marked_at=plan.made_at)
            yield pack
        for pack_id, size_bytes in plan.orphans_marked.items():
            yield MarkedPack(pack_id, (), plan.made_at, size_bytes)
