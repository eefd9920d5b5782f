"""The ``targz`` archiver: every backup is an ordinary tar.gz, optionally in an age envelope."""

from collections.abc import Sequence

from backapp_core.plugin_api import (
    ArchiverKind,
    Keys,
    ObjectSort,
    Repository,
    Surroundings,
    Transport,
    hookimpl,
)
from backapp_plugins.archivers.targz.settings import TargzSettings


def _recognises(transport: Transport) -> bool:
    from backapp_plugins.archivers.targz.repository import recognises

    return recognises(transport)


def _create(
    transport: Transport, settings: TargzSettings, keys: Keys, surroundings: Surroundings
) -> Repository:
    from backapp_plugins.archivers.targz.repository import create

    return create(transport, settings, keys, surroundings)


def _open(transport: Transport, keys: Keys, surroundings: Surroundings) -> Repository:
    from backapp_plugins.archivers.targz.repository import open_repository

    return open_repository(transport, keys, surroundings)


def _lacks(transport: Transport) -> str:
    from backapp_plugins.archivers.targz.repository import lacks

    return lacks(transport)


def _sort_of(name: str) -> ObjectSort | None:
    from backapp_plugins.archivers.targz.layout import sort_of

    return sort_of(name)


@hookimpl
def backapp_archivers() -> Sequence[ArchiverKind]:
    """Offer the tar.gz archiver."""
    return [
        ArchiverKind(
            name="targz",
            settings=TargzSettings,
            recognises=_recognises,
            create=_create,
            open=_open,
            lacks=_lacks,
            sort_of=_sort_of,
        )
    ]
