"""The ``s3`` transport: objects in a bucket of Amazon S3, of Ceph, or of whatever speaks S3."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backapp_core.plugin_api import Surroundings, TransportKind, hookimpl
from backapp_plugins.transports.s3.address import S3Address, parse_s3
from backapp_plugins.transports.s3.settings import S3Options, S3Settings

if TYPE_CHECKING:
    from backapp_plugins.transports.s3.transport import S3Transport

__all__ = [
    "KIND",
    "S3Address",
    "S3Options",
    "S3Settings",
    "backapp_transports",
    "open_s3",
    "parse_address",
]


def parse_address(address: str) -> S3Settings:
    """Read an address, see `parse_s3`.

    Raises:
        InvalidAddress: If it makes no sense.
    """
    return S3Settings(parse_s3(address))


def open_s3(settings: S3Settings, surroundings: Surroundings) -> "S3Transport":
    """Open the transport; nothing is asked of the server yet.

    Raises:
        AccessRefused: If the keys that are named cannot be had.
        InputError: If options contradict one another, or the file with the secret key cannot be
            used.
        PartMissing: If boto3 is not installed.
    """
    # Every command asks for the kind, few open one.
    from backapp_plugins.transports.s3.client import connect
    from backapp_plugins.transports.s3.transport import S3Transport

    return S3Transport(connect(settings, surroundings), surroundings)


KIND = TransportKind(
    name="s3",
    schemes=frozenset({"s3"}),
    settings=S3Settings,
    parse=parse_address,
    open=open_s3,
    options=S3Options,
    paces_uploads=True,
)


@hookimpl
def backapp_transports() -> Sequence[TransportKind]:
    """Offer the S3 transport."""
    return [KIND]
