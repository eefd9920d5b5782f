"""Makes snapshots of which parts are lost anew, without these parts."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import final

from attrs import evolve

from backapp_core.plugin_api import DamagedRepository, Snapshot, SnapshotRepair
from backapp_plugins.archivers.restic.access.holding import Hold
from backapp_plugins.archivers.restic.format.layout import SNAPSHOTS, BlobKind, id_of
from backapp_plugins.archivers.restic.format.snapshots import (
    SnapshotRecord,
    decode_snapshot,
    rewritten,
)
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.listing import all_records, find_record
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.needs import Lost, needed_rows
from backapp_plugins.archivers.restic.prune.pack_use import PackStock, take_stock
from backapp_plugins.archivers.restic.prune.removing import refuse_if_append_only
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader
from backapp_plugins.archivers.restic.repair.tree_mending import Mended, TreeMender
from backapp_plugins.archivers.restic.writing.publishing import publish
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

TAG = "repaired"
"""What restic calls them, too."""
_UNREADABLE = "not even its top folder can be read"


def repair_snapshots(
    place: Place, snapshots: Sequence[Snapshot], *, forgets: bool, is_dry: bool
) -> Sequence[SnapshotRepair]:
    """Store a snapshot without what is lost for each of which something is; the others are left.

    A snapshot that was repaired before is not repaired once more.

    Args:
        place: The repository.
        snapshots: Which are looked at.
        forgets: Whether the former ones are removed, and those of which nothing can be read.
        is_dry: Whether everything is only found out.

    Raises:
        AccessRefused: If snapshots are to be removed and nothing may be.
        DamagedRepository: If the index names packs that are not there as it says.
        RepositoryLocked: If another process excludes this.
    """
    if forgets:
        refuse_if_append_only(place)
    with place.hold(is_exclusive=forgets and not is_dry) as hold, ExitStack() as stack:
        records = [find_record(place, one.id) for one in snapshots]
        index = place.load_index()
        stock = take_stock(place, index.table())
        roots = {bytes.fromhex(one.snapshot.id): one.tree for one in records}
        _, lost = needed_rows(place, index, roots, stock.is_safe())
        if not lost:
            return []
        _require_whole_packs(index, stock, lost)
        saver = None if is_dry else stack.enter_context(BlobSaver(place, index, hold.check))
        repair = _Repair(place, index, saver, forgets=forgets)
        planned = [one for record in records if (one := repair.mend(record)) is not None]
        if saver is None:
            return [one for one, _ in planned]
        saver.finish()
        return [repair.publish(hold, *one) for one in planned]


def _require_whole_packs(index: Index, stock: PackStock, lost: Sequence[Lost]) -> None:
    for one in lost:
        packs = [location.pack_id for location in index.locations(one.kind, one.blob_id)]
        if packs and not stock.is_whole[stock.table.packs_of(packs)].any():
            raise DamagedRepository(
                f"the index names {one.kind.name.lower()} blob {one.blob_id.hex()}, but "
                f"{one.reason}; run repair index first, then this again"
            )


@final
class _Repair:
    def __init__(
        self, place: Place, index: Index, saver: BlobSaver | None, *, forgets: bool
    ) -> None:
        self._place = place
        self._forgets = forgets

        def save(tree: bytes) -> bytes:
            return saver.save(BlobKind.TREE, tree) if saver else id_of(tree)

        self._mender = TreeMender(TreeReader(place, index), index, save)
        self._repaired = {
            (one.snapshot.original_id, one.tree): one.snapshot for one in all_records(place)
        }

    def mend(self, record: SnapshotRecord) -> tuple[SnapshotRepair, bytes | None] | None:
        """Return what is to be done for a snapshot, and the document to be stored, if any."""
        before = record.snapshot
        mended = self._mender.mend(record.tree)
        if mended is None:
            lost = ((b"/", _UNREADABLE),)
            return SnapshotRepair(before, None, lost, is_removed=self._forgets), None
        if not mended.changes:
            return None
        changes = tuple((b"/" + path, text) for path, text in mended.changes)
        known = self._repaired.get((before.id, mended.tree_id))
        if known is not None and not self._forgets:
            return None
        repair = SnapshotRepair(before, known, changes, is_removed=self._forgets)
        return repair, None if known is not None else self._document(record, mended)

    def publish(self, hold: Hold, repair: SnapshotRepair, document: bytes | None) -> SnapshotRepair:
        """Store the new snapshot, then remove the former one if that is wanted.

        Raises:
            RepositoryLocked: If the lock was lost.
        """
        if document is not None:
            ((new_id, _),) = publish(self._place, hold, [document])
            repair = evolve(repair, after=decode_snapshot(document, new_id).snapshot)
        if self._forgets:
            hold()
            self._place.transport.delete(SNAPSHOTS + repair.before.id)
        return repair

    def _document(self, record: SnapshotRecord, mended: Mended) -> bytes:
        tags = set(record.snapshot.tags)
        if not self._forgets:
            tags.add(TAG)
        return rewritten(
            record,
            tree=mended.tree_id.hex(),
            original=record.snapshot.id,
            tags=sorted(tags) or None,
        )
