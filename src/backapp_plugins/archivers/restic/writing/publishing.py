"""Publishes snapshots, and takes back what may need packs that others removed meanwhile."""

from collections.abc import Sequence

from backapp_core.plugin_api import Level, RepositoryLocked, TransportError
from backapp_plugins.archivers.restic.access.holding import Hold
from backapp_plugins.archivers.restic.format.layout import SNAPSHOTS
from backapp_plugins.archivers.restic.place import Place


def publish(place: Place, hold: Hold, documents: Sequence[bytes]) -> Sequence[tuple[bytes, int]]:
    """Store snapshots, and return the id of each and the size of its object in bytes.

    The lock has to stand before, and to be believed in afterwards: a machine that slept in between
    may have been taken for dead, and what is published may need what others removed since.

    Raises:
        RepositoryLocked: If the lock was lost; nothing is published then, or the listeners are told
            what cannot be taken back.
    """
    hold()
    stored: list[tuple[bytes, int]] = []
    try:
        for document in documents:
            stored.append(place.write_document(SNAPSHOTS, document))
            hold.check()
    except RepositoryLocked:
        for snapshot_id, _ in stored:
            _take_back(place, SNAPSHOTS + snapshot_id.hex())
        raise
    return stored


def _take_back(place: Place, name: str) -> None:
    try:
        place.transport.delete(name)
    except TransportError as error:
        place.say(
            Level.WARNING,
            f"{name} may need what others removed, and cannot be taken back: {error.message}; "
            "have the repository checked",
        )
