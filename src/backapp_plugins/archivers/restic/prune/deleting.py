"""Deletes many objects, several at a time."""

from collections.abc import Iterable

from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place


def delete_all(place: Place, names: Iterable[str]) -> None:
    """Delete objects in about this order; those that are gone already are fine.

    Raises:
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop; the rest is left then.
    """
    for _ in in_threads(place, place.transport.delete, names):
        pass
