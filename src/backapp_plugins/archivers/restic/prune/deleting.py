"""Deletes many objects, several at a time."""

from collections.abc import Iterable

from backapp_plugins.archivers.restic.access.holding import Hold
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place


def delete_all(place: Place, hold: Hold, names: Iterable[str]) -> None:
    """Delete objects in about this order while the lock is believed in; gone ones are fine.

    Raises:
        RepositoryLocked: If the lock was lost; the rest is left then.
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop; the rest is left then.
    """

    def delete(name: str) -> None:
        hold.check()
        place.transport.delete(name)

    for _ in in_threads(place, delete, names):
        pass
