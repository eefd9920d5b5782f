"""Removes snapshots, and gives them other tags, which replaces them."""

from collections.abc import Sequence

from backapp_core.plugin_api import AccessRefused, RemovalPlan, Snapshot
from backapp_plugins.archivers.restic.format.layout import SNAPSHOTS
from backapp_plugins.archivers.restic.format.snapshots import decode_snapshot, retagged
from backapp_plugins.archivers.restic.listing import find_record
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.deleting import delete_all


def remove(place: Place, plan: RemovalPlan) -> None:
    """Delete the snapshots that ``plan`` removes; those that are gone already are fine.

    Raises:
        AccessRefused: If nothing may be deleted from the repository.
        RepositoryLocked: If another process uses the repository.
    """
    refuse_if_append_only(place)
    with place.hold(is_exclusive=True) as hold:
        hold()
        delete_all(place, hold, [SNAPSHOTS + snapshot_id for snapshot_id in plan.remove])


def retag(place: Place, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
    """Store the snapshot with other tags, then delete it as it was.

    A kill in between leaves both.

    Raises:
        AccessRefused: If nothing may be deleted from the repository.
        RepositoryLocked: If another process uses the repository.
        SnapshotNotFound: If there is no such snapshot any more.
    """
    refuse_if_append_only(place)
    with place.hold(is_exclusive=True) as hold:
        record = find_record(place, snapshot.id)
        if tuple(sorted(set(tags))) == record.snapshot.tags:
            return record.snapshot
        document = retagged(record, tags)
        hold()
        new_id, _ = place.write_document(SNAPSHOTS, document)
        place.transport.delete(SNAPSHOTS + snapshot.id)
        return decode_snapshot(document, new_id).snapshot


def refuse_if_append_only(place: Place) -> None:
    """Return if objects may be deleted.

    Raises:
        AccessRefused: If the description of the repository says otherwise, as rustic's may.
    """
    if place.config.is_append_only:
        raise AccessRefused(
            f"nothing may be deleted from the repository at {place.transport.address}, for its "
            "description says that it only grows"
        )
