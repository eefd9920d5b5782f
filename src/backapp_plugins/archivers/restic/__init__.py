"""The ``restic`` archiver: a deduplicating, encrypted repository in restic's open format."""

from collections.abc import Sequence

from backapp_core.plugin_api import (
    ArchiverKind,
    Keys,
    ObjectSort,
    PartMissing,
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
    try:
        from backapp_plugins.archivers.restic.opening import create

        return create(transport, settings, keys, surroundings)
    except ModuleNotFoundError as error:
        raise _lacking(error) from error


def _open(transport: Transport, keys: Keys, surroundings: Surroundings) -> Repository:
    try:
        from backapp_plugins.archivers.restic.opening import open_repository

        return open_repository(transport, keys, surroundings)
    except ModuleNotFoundError as error:
        raise _lacking(error) from error


def _lacking(error: ModuleNotFoundError) -> PartMissing:
    return PartMissing(
        f"a restic repository needs {error.name}; install it with: pip install 'backapp[restic]'"
    )


def _lacks(transport: Transport) -> str:
    from backapp_plugins.archivers.restic.presence import lacks

    return lacks(transport)


def _sort_of(name: str) -> ObjectSort | None:
    from backapp_plugins.archivers.restic.format.layout import sort_of

    return sort_of(name)


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
            sort_of=_sort_of,
        )
    ]
