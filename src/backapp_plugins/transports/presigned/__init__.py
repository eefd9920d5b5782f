"""The ``presigned`` transport: a server signs for every object, and the bytes go past it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backapp_core.plugin_api import (
    AccessRefused,
    PartMissing,
    Surroundings,
    TransportKind,
    hookimpl,
)
from backapp_plugins.transports.presigned.address import ManagedAddress, parse_address

if TYPE_CHECKING:
    from backapp_plugins.transports.presigned.transport import PresignedTransport

__all__ = ["KIND", "ManagedAddress", "backapp_transports", "open_presigned", "parse_address"]


def open_presigned(address: ManagedAddress, surroundings: Surroundings) -> "PresignedTransport":
    """Open the transport; nothing is asked of anybody yet.

    Raises:
        AccessRefused: If nobody signs, as where no agent is at work.
        PartMissing: If httpx2 is not installed.
    """
    if surroundings.grants is None:
        raise AccessRefused(
            f"{address.text} is reached through a server, by the agent that it was made for; on "
            "other machines name the bucket itself, with its own keys"
        )
    # Every command asks for the kind, few open one.
    try:
        from backapp_plugins.transports.presigned.transport import PresignedTransport
    except ModuleNotFoundError as error:
        raise PartMissing(f"{address.text} needs httpx2; pip install 'backapp[agent]'") from error
    return PresignedTransport(address, surroundings.grants, surroundings)


KIND = TransportKind(
    name="presigned",
    schemes=frozenset({"backapp"}),
    settings=ManagedAddress,
    parse=parse_address,
    open=open_presigned,
    paces_uploads=True,
)


@hookimpl
def backapp_transports() -> Sequence[TransportKind]:
    """Offer the transport of agents."""
    return [KIND]
