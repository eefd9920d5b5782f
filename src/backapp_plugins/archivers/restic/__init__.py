"""The ``restic`` archiver: a deduplicating, encrypted repository in restic's open format."""

from collections.abc import Sequence

from backapp_core.plugin_api import (
    ArchiverKind,
    Keys,
    Repository,
    Surroundings,
    Transport,
    hookimpl,
)
from backapp_plugins.archivers.restic.settings import ResticSettings


def _recognises(transport: Transport) -> bool:
    from backapp_plugins.archivers.restic.presence import recognises

    return recognises(transport)


def _create(
    transport: Transport, settings: ResticSettings, keys: Keys, surroundings: Surroundings
) -> Repository:
    from backapp_plugins.archivers.restic.opening import create

    return create(transport, settings, keys, surroundings)


def _open(transport: Transport, keys: Keys, surroundings: Surroundings) -> Repository:
    from backapp_plugins.archivers.restic.opening import open_repository

    return open_repository(transport, keys, surroundings)


def _lacks(transport: Transport) -> str:
    from backapp_plugins.archivers.restic.presence import lacks

    return lacks(transport)


@hookimpl
def backapp_archivers() -> Sequence[ArchiverKind]:
    """Offer the restic archiver."""
    return [
        ArchiverKind(
            name="restic",
            settings=ResticSettings,
            recognises=_recognises,
            create=_create,
            open=_open,
            lacks=_lacks,
        )
    ]
