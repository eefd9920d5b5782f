"""The snapshots of a repository."""

from collections.abc import Iterator

from backapp_core.plugin_api import (
    DamagedRepository,
    Level,
    ObjectMissing,
    SnapshotNotFound,
)
from backapp_plugins.archivers.restic.format.layout import SNAPSHOTS
from backapp_plugins.archivers.restic.format.snapshots import (
    SnapshotBroken,
    SnapshotRecord,
    decode_snapshot,
)
from backapp_plugins.archivers.restic.place import Place


def all_records(place: Place) -> list[SnapshotRecord]:
    """Return all snapshots, oldest first; one that cannot be read is reported and left out."""
    found = list(_readable(place))
    return sorted(found, key=lambda one: (one.snapshot.taken_at, one.snapshot.id))


def find_record(place: Place, snapshot_id: str) -> SnapshotRecord:
    """Return one snapshot.

    Raises:
        SnapshotNotFound: If there is none.
        DamagedRepository: If it is altered.
    """
    try:
        return read_record(place, bytes.fromhex(snapshot_id))
    except (ObjectMissing, ValueError) as error:
        raise SnapshotNotFound(
            f"there is no snapshot {snapshot_id[:8]} at {place.transport.address}"
        ) from error


def read_record(place: Place, snapshot_id: bytes) -> SnapshotRecord:
    """Return the snapshot that stands in an object.

    Raises:
        ObjectMissing: If there is no such object.
        DamagedRepository: If it is altered, or holds something else.
    """
    document = place.read_document(SNAPSHOTS, snapshot_id)
    try:
        return decode_snapshot(document, snapshot_id)
    except SnapshotBroken as error:
        raise DamagedRepository(f"{SNAPSHOTS}{snapshot_id.hex()} is damaged: {error}") from error


def _readable(place: Place) -> Iterator[SnapshotRecord]:
    for snapshot_id, _ in place.listed(SNAPSHOTS):
        try:
            yield read_record(place, snapshot_id)
        except ObjectMissing:
            continue  # removed since it was listed
        except DamagedRepository as error:
            place.say(Level.WARNING, error.message)
