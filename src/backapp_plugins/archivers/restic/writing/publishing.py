"""Publishes snapshots, and takes back what may need packs that others removed meanwhile."""

from collections.abc import Sequence

from backapp_core.plugin_api import RepositoryLocked
from backapp_plugins.archivers.restic.access.holding import Hold
from backapp_plugins.archivers.restic.format.layout import SNAPSHOTS
from backapp_plugins.archivers.restic.place import Place


def publish(place: Place, hold: Hold, documents: Sequence[bytes]) -> Sequence[tuple[bytes, int]]:
    """Store snapshots, and return the id of each and the size of its object in bytes.

    The lock has to stand before, and to be believed in afterwards: a machine that slept in between
    may have been taken for dead, and what is published may need what others removed since.

    Raises:
        RepositoryLocked: If the lock was lost; nothing is published then.
    """
    hold()
    stored: list[tuple[bytes, int]] = []
    try:
        for document in documents:
            stored.append(place.write_document(SNAPSHOTS, document))
            hold.check()
    except RepositoryLocked:
        for snapshot_id, _ in stored:
            place.transport.delete(SNAPSHOTS + snapshot_id.hex())
        raise
    return stored
