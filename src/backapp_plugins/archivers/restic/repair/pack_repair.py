"""Saves what can be read out of damaged packs."""

from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import sha256
from typing import final

import numpy as np

from backapp_core.plugin_api import InputError, ObjectMissing, PackRepair, TransferCut
from backapp_plugins.archivers.restic.format.blobs import BlobBroken
from backapp_plugins.archivers.restic.format.layout import DATA, pack_name
from backapp_plugins.archivers.restic.format.packs import HeaderBroken, PackEntry, decode_header
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.deleting import delete_all
from backapp_plugins.archivers.restic.prune.index_rewriting import IndexRewriter
from backapp_plugins.archivers.restic.prune.plan import Fates
from backapp_plugins.archivers.restic.prune.removing import refuse_if_append_only
from backapp_plugins.archivers.restic.reading.pack_headers import read_header
from backapp_plugins.archivers.restic.writing.packing import PackWriter

_TRIES = 2


def repair_packs(place: Place, names: Sequence[str], *, is_dry: bool) -> Sequence[PackRepair]:
    """Copy the whole blobs of damaged packs to new packs, and let no index object name the old.

    The damaged packs themselves stay until a prune, marked, so that nobody takes them for what an
    interrupted backup left. Packs that turn out to be whole are left alone.

    Args:
        place: The repository.
        names: Names of packs, their ids, or beginnings of ids.
        is_dry: Whether everything is only found out.

    Raises:
        AccessRefused: If nothing may be deleted from the repository.
        InputError: If a name means no pack, or several.
        RepositoryLocked: If another process uses the repository.
    """
    refuse_if_append_only(place)
    with place.hold(is_exclusive=True) as hold:
        sizes = _chosen(place, names)
        repair = _Repair(place)
        with ExitStack() as stack:
            writer = (
                None if is_dry else stack.enter_context(PackWriter(place, check_lock=hold.check))
            )
            done = [repair.salvage(pack_id, size, writer) for pack_id, size in sizes.items()]
            if writer is not None:
                writer.finish()
        if not is_dry:
            outdated = repair.drop()
            hold()
            delete_all(place, hold, outdated)
        return done


def _chosen(place: Place, names: Sequence[str]) -> dict[bytes, int]:
    """Return ids and sizes of the packs that are meant.

    Raises:
        InputError: If a name means none, or several.
    """
    there = {pack_id: info.size_bytes for pack_id, info in place.listed(DATA)}
    chosen: dict[bytes, int] = {}
    for name in names:
        prefix = name.rpartition("/")[2].lower()
        found = [one for one in there if prefix and one.hex().startswith(prefix)]
        if len(found) != 1:
            number = "no pack" if not found else f"{len(found)} packs"
            raise InputError(f"'{name}' means {number} of {place.transport.address}")
        chosen[found[0]] = there[found[0]]
    return chosen


@final
class _Repair:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._index = place.load_index()
        self._packs = PackTable(self._index.table())
        self._dropped = np.zeros(len(self._packs), np.bool_)
        self._doomed: dict[bytes, int] = {}

    def salvage(self, pack_id: bytes, size_bytes: int, writer: PackWriter | None) -> PackRepair:
        """Copy what is whole of one pack, if the pack is not; without a writer only look."""
        number = int(self._packs.table.packs_of([pack_id])[0])
        named = self._packs.entries(number) if number >= 0 else []
        name = pack_name(pack_id)
        if named and self._is_whole(pack_id):
            return PackRepair(name, salvaged=0, salvaged_bytes=0, lost=(), is_dropped=False)
        if named or number < 0:
            self._doomed[pack_id] = size_bytes
        if named:
            self._dropped[number] = True
        salvaged = salvaged_bytes = 0
        broken: list[PackEntry] = []
        for entry in named or self._only_in_pack(pack_id, size_bytes):
            self._place.surroundings.cancel.check()
            sealed = self._whole_blob(pack_id, entry)
            if sealed is None:
                broken.append(entry)
                continue
            salvaged, salvaged_bytes = salvaged + 1, salvaged_bytes + len(sealed)
            if writer is not None:
                writer.add(entry.kind, entry.blob_id, sealed, entry.uncompressed)
        lost = tuple(one.blob_id.hex() for one in broken if not self._is_elsewhere(one))
        return PackRepair(name, salvaged, salvaged_bytes, lost, pack_id in self._doomed)

    def drop(self) -> list[str]:
        """Store index objects that mark the packs, and return the names of those that go then."""
        if not self._doomed:
            return []
        marked_at = self._place.surroundings.clock.now()
        rewriter = IndexRewriter(self._place, self._packs, marked_at=marked_at)
        return rewriter.write(Fates.deleting(self._dropped), orphans=self._doomed)

    def _only_in_pack(self, pack_id: bytes, size_bytes: int) -> Sequence[PackEntry]:
        """Return the blobs that a pack lists and that no other pack has.

        Raises:
            InputError: If it lists none.
        """
        try:
            listed = decode_header(read_header(self._place, pack_id, size_bytes))
        except HeaderBroken as error:
            raise InputError(
                f"nothing is known of what is in {pack_name(pack_id)}: no index object names it, "
                f"and in the pack itself {error}"
            ) from error
        return [entry for entry in listed if not self._is_elsewhere(entry)]

    def _is_whole(self, pack_id: bytes) -> bool:
        for _ in range(_TRIES):
            hasher = sha256()
            try:
                for part in self._place.transport.get(pack_name(pack_id)):
                    hasher.update(part)
            except TransferCut:
                continue
            if hasher.digest() == pack_id:
                return True
        return False

    def _whole_blob(self, pack_id: bytes, entry: PackEntry) -> bytes | None:
        """Return a blob as it is sealed, None if it is not what it should be."""
        for _ in range(_TRIES):
            try:
                sealed = self._place.transport.read(
                    pack_name(pack_id), offset=entry.offset, length_bytes=entry.length
                )
                self._place.codec.decode(sealed, entry.uncompressed, entry.blob_id)
            except (BlobBroken, TransferCut):
                continue
            return sealed
        return None

    def _is_elsewhere(self, entry: PackEntry) -> bool:
        """Say whether a pack that is not about to be dropped has the blob, whole."""
        for location in self._index.locations(entry.kind, entry.blob_id):
            if location.pack_id in self._doomed:
                continue
            try:
                self._place.read_at(location, entry.blob_id)
            except (BlobBroken, ObjectMissing, TransferCut):
                continue
            return True
        return False
