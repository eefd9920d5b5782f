"""A server as the store of an agent: HTTP to ask and tell, a WebSocket to be woken by."""

from __future__ import annotations  # what only agents need is imported by need

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backapp_core.plugin_api import (
    InputError,
    PartMissing,
    Store,
    StoreKind,
    Surroundings,
    hookimpl,
)

if TYPE_CHECKING:
    from backapp_core.server_api import Work
    from backapp_core.wire import Enrolled


def open_store(url: str, surroundings: Surroundings) -> Store:
    """Refuse: a server keeps its jobs and runs to itself.

    Raises:
        InputError: Always.
    """
    del surroundings
    raise InputError(
        f"{url.partition('?')[0]} is a server, which gives jobs to agents and keeps none for the "
        "command line; join it with: backapp agent enrol"
    )


def open_work(url: str, key: str, surroundings: Surroundings) -> Work:
    """Open what an agent may ask of the server at ``url``.

    Raises:
        InvalidAddress: If the URL makes no sense, or the key would travel in the clear.
        PartMissing: If a library is not installed.
    """
    try:
        from backapp_plugins.stores.remote.work import RemoteWork
    except ModuleNotFoundError as error:
        raise PartMissing(_missing(error)) from error
    return RemoteWork(url, key, surroundings)


def enrol(url: str, token: str, agent_id: str, key: str, surroundings: Surroundings) -> Enrolled:
    """Let this machine join the server at ``url``.

    Raises:
        InvalidAddress: If the URL makes no sense, or the key would travel in the clear.
        PartMissing: If a library is not installed.
    """
    try:
        from backapp_plugins.stores.remote import joining
    except ModuleNotFoundError as error:
        raise PartMissing(_missing(error)) from error
    return joining.join(url, token, agent_id, key, surroundings)


@hookimpl
def backapp_stores() -> Sequence[StoreKind]:
    """Offer servers as stores of agents."""
    return (
        StoreKind(
            name="remote",
            schemes=frozenset({"https", "http"}),
            open=open_store,
            open_work=open_work,
            enrol=enrol,
        ),
    )


def _missing(error: ModuleNotFoundError) -> str:
    return f"an agent needs {error.name}; install it with: pip install 'backapp[agent]'"
