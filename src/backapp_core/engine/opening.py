"""From an address to an opened repository, and to a new one."""

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from backapp_core.codec import from_plain
from backapp_core.engine import enforcements, watch
from backapp_core.engine.addresses import open_transport
from backapp_core.engine.scan_ahead import Ahead
from backapp_core.errors import (
    DamagedRepository,
    InvalidAddress,
    RepositoryExists,
    RepositoryNotFound,
)
from backapp_core.manager import PluginManager
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.transports import HasFolder, Transport


@frozen
class Opened:
    """A repository and the transport it stands on."""

    repository: Repository
    transport: Transport
    is_another: bool = False
    """Whether another repository was known at its address; the listeners were told."""
    ahead: Ahead | None = None
    """A scan that was begun meanwhile."""

    @property
    def folder(self) -> Path | None:
        """Where its objects are files of this machine, None if they are not."""
        return local_folder(self.transport)


def local_folder(transport: object) -> Path | None:
    """Return the folder that holds a transport's objects if it is on this machine."""
    return transport.folder if isinstance(transport, HasFolder) else None


def open_repository(
    plugins: PluginManager,
    surroundings: Surroundings,
    address: str,
    keys: Keys,
    *,
    look_ahead: Callable[[Path | None], Ahead | None] | None = None,
) -> Opened:
    """Open whatever repository stands at ``address``.

    Args:
        plugins: Where transport and archiver come from.
        surroundings: What they find around them.
        address: Where it stands.
        keys: What opens it.
        look_ahead: Given its local folder, if any, returns a scan to begin while the key is made.

    Raises:
        RepositoryNotFound: If no archiver recognises anything there; says how to create one.
        InputError: If the address makes no sense.
        PluginError: If no installed plugin can open the address, or a library for it is missing.
        TransportError: If the destination cannot be reached or refuses.
        RepositoryError: If what stands there cannot be used (unknown version, damaged, wrong
            password, the ruins of a repository).
    """
    transport = open_transport(plugins, address, surroundings)
    try:
        kind = _recognised(plugins, transport)
        ahead = look_ahead(local_folder(transport)) if look_ahead is not None else None
        if ahead is None:
            repository = kind.open(transport, keys, surroundings)
        else:
            with ahead.scanner.beginning(keys) as beginning:
                repository = kind.open(transport, beginning, surroundings)
        is_another = watch.meet(surroundings, transport.address, repository)
        return Opened(repository, transport, is_another, ahead)
    except BaseException:
        transport.close()
        raise


def create_repository(
    plugins: PluginManager,
    surroundings: Surroundings,
    address: str,
    *,
    archiver: str,
    options: Mapping[str, object],
    keys: Keys,
) -> Opened:
    """Create a repository where there is nothing yet, and open it.

    What its destination enforces of signed requests, where destinations differ in that, is found
    out and remembered.

    Raises:
        RepositoryExists: If a repository of any kind stands there.
        InputError: If the address or the options make no sense, or other files stand there.
        PluginError: If the archiver or a transport for the address is not installed.
        TransportError: If the destination cannot be reached, refuses, or is full.
    """
    kind = plugins.archivers.get(archiver)
    settings = from_plain(dict(options), kind.settings, source=f"options of archiver {archiver}")
    transport = open_transport(plugins, address, surroundings)
    try:
        check_free(plugins, transport)
        repository = kind.create(transport, settings, keys, surroundings)
        watch.know(surroundings, transport.address, repository)
        enforcements.find_out_at_first(surroundings, transport, repository.info.id)
        return Opened(repository, transport)
    except BaseException:
        transport.close()
        raise


def recognise(plugins: PluginManager, transport: Transport) -> ArchiverKind | None:
    """Return the archiver kind whose repository stands at ``transport``, None if there is none.

    Raises:
        TransportError: If the destination cannot be reached or refuses.
    """
    return next((kind for kind in plugins.archivers.kinds if kind.recognises(transport)), None)


def _recognised(plugins: PluginManager, transport: Transport) -> ArchiverKind:
    kind = recognise(plugins, transport)
    if kind is None:
        _refuse_ruins(plugins, transport)
        raise RepositoryNotFound(
            f"no repository at {transport.address}; "
            f"create one with: backapp init -r {transport.address}"
        )
    return kind


def _refuse_ruins(plugins: PluginManager, transport: Transport) -> None:
    for kind in plugins.archivers.kinds:
        if missing := kind.lacks(transport):
            raise DamagedRepository(
                f"{transport.address} looks like a {kind.name} repository whose {missing} is "
                "missing; put that back from a copy"
            )


def check_free(plugins: PluginManager, transport: Transport) -> None:
    """Return if a repository can be made at ``transport``.

    Raises:
        RepositoryExists: If a repository of any kind stands there.
        InvalidAddress: If other files do.
    """
    there = recognise(plugins, transport)
    if there is not None:
        raise RepositoryExists(f"a repository ({there.name}) exists at {transport.address} already")
    stranger = next(iter(transport.list()), None)
    if stranger is not None:
        raise InvalidAddress(
            f"{transport.address} holds other files, such as '{stranger.name}'; "
            "choose an empty or new place for the repository"
        )
