"""Writes index objects anew whose packs are leaving, are marked, or are to be named otherwise."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import TypeAlias, final

import numpy as np

from backapp_core.plugin_api import StorageFull
from backapp_plugins.archivers.restic.format.layout import INDEX, MAX_INDEX_BLOBS
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.files import MarkedPack, encode_indexes
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.plan import Fates

NamedPack: TypeAlias = tuple[bytes, Sequence[PackEntry]]


@final
class IndexRewriter:
    """The index objects of one run that changes them, perhaps in several steps.

    New objects are stored before old ones go, so at any moment every blob that is needed is named.
    """

    def __init__(
        self,
        place: Place,
        packs: PackTable,
        *,
        marked_at: datetime,
        joined: Container[str] | None = None,
    ) -> None:
        """Begin with what stands there.

        Args:
            place: The repository.
            packs: What its index objects name.
            marked_at: What packs are marked with.
            joined: Names of objects that may be written anew although nothing in them changes; None
                for all.
        """
        columns = packs.table.columns
        self._place = place
        self._packs = packs
        self._marked_at = marked_at
        self._originals: Flags = np.ones(len(columns.file_id), np.bool_)
        """Which of the objects that the table was read from still stand."""
        self._written: list[bytes] = []
        self._in_written: Flags = np.zeros(len(packs), np.bool_)
        """Which packs those objects name that were written since."""
        self._is_marked: Flags = columns.pack_is_marked
        self._is_renewed: Flags = np.zeros(len(packs), np.bool_)
        self._orphans: list[MarkedPack] = []
        blobs = packs.blobs.sum(axis=0)[columns.naming_pack]
        counts = np.bincount(columns.naming_file, blobs, len(columns.file_id))
        self._is_joined = counts < MAX_INDEX_BLOBS
        if joined is not None:
            for number, file_id in enumerate(columns.file_id.tolist()):
                self._is_joined[number] &= INDEX + file_id.hex() in joined

    @property
    def written(self) -> Sequence[bytes]:
        """Ids of the objects that were written and are to stay."""
        return self._written

    def join_nothing(self) -> None:
        """From now on write no object anew in which nothing changes: there is little room."""
        self._is_joined[:] = False

    def outdated(self, changed: Flags) -> list[bytes]:
        """Return the ids of objects that are written anew when these packs change.

        If there are any, objects that are not full are among them, to be joined.
        """
        files = np.flatnonzero(self._outdated(changed))
        return [*self._packs.table.columns.file_id[files].tolist(), *self._written]

    def write(
        self,
        fates: Fates,
        *,
        orphans: Mapping[bytes, int] | None = None,
        added: Iterable[NamedPack] = (),
    ) -> list[str]:
        """Store new objects and return the names of those that have to be deleted then.

        Args:
            fates: What happens to packs that are named.
            orphans: Packs that nobody names and that are to be marked, with their sizes.
            added: Packs that nobody names and that are to be named.

        Raises:
            StorageFull: If there is no room; what was stored is taken back.
        """
        columns = self._packs.table.columns
        outdated = self._outdated(fates.changed)
        named = self._in_written.copy()
        named[columns.naming_pack[outdated[columns.naming_file]]] = True
        named &= ~fates.deleted
        is_marked: Flags = (self._is_marked | fates.marked) & ~fates.recovered
        is_renewed: Flags = self._is_renewed | fates.renewed
        strays = [
            MarkedPack(one, (), self._marked_at, size) for one, size in (orphans or {}).items()
        ]
        strays = [*self._orphans, *strays]
        old = self.outdated(fates.changed)
        self._written = self._store(
            chain(self._named(named & ~is_marked), added),
            chain(self._marked(named & is_marked, is_renewed), strays),
        )
        self._originals &= ~outdated
        self._in_written, self._is_marked, self._is_renewed = named, is_marked, is_renewed
        self._orphans = strays
        return [INDEX + file_id.hex() for file_id in old]

    def _outdated(self, changed: Flags) -> Flags:
        columns = self._packs.table.columns
        outdated = np.zeros_like(self._originals)
        outdated[columns.naming_file[changed[columns.naming_pack]]] = True
        outdated &= self._originals
        if outdated.any() or self._written:
            outdated |= self._originals & self._is_joined
        return outdated

    def _named(self, packs: Flags) -> Iterator[NamedPack]:
        for number in np.flatnonzero(packs).tolist():
            yield self._packs.pack_id(number), self._packs.entries(number)

    def _marked(self, packs: Flags, is_renewed: Flags) -> Iterator[MarkedPack]:
        for number in np.flatnonzero(packs).tolist():
            pack = self._packs.marked(number)
            yield pack._replace(marked_at=self._marked_at) if is_renewed[number] else pack

    def _store(self, packs: Iterable[NamedPack], marked: Iterable[MarkedPack]) -> list[bytes]:
        stored: list[bytes] = []
        try:
            for document in encode_indexes(packs, marked):
                index_id, _ = self._place.write_document(INDEX, document)
                stored.append(index_id)
        except StorageFull:
            for index_id in stored:
                self._place.transport.delete(INDEX + index_id.hex())
            raise
        return stored
