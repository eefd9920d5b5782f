"""Looks whether repositories of machines can stand in the buckets that the settings name."""

from collections.abc import Iterator, Mapping

from backapp_core.engine.addresses import open_transport, without_secret
from backapp_core.errors import (
    AccessRefused,
    InputError,
    InvalidSettings,
    PluginError,
    TransportUnavailable,
)
from backapp_core.manager import PluginManager
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import CanPresign, Transport

_TABLE = "server.buckets"
_WAY_OUT = "correct that, or take the bucket out of the settings"


def check_buckets(
    plugins: PluginManager, surroundings: Surroundings, named: Mapping[str, str]
) -> None:
    """Refuse buckets in which no repository could ever stand, before a run needs one of them.

    Args:
        plugins: What is installed.
        surroundings: What transports are opened with.
        named: Addresses by name, as in the table ``[server.buckets]``.

    Raises:
        InvalidSettings: If there is such; every one is listed with its setting.
    """
    if faults := [*bucket_faults(plugins, surroundings, named)]:
        raise InvalidSettings("the settings", faults)


def bucket_faults(
    plugins: PluginManager, surroundings: Surroundings, named: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the setting and what is wrong with it, for each of ``named`` that is impossible.

    Nothing is asked of a bucket that speaks S3, and one that does not answer is no fault: it may
    be away for a while only.
    """
    for name, address in named.items():
        setting = f"{_TABLE}.{name}"
        try:
            with open_transport(plugins, address.rstrip("/"), surroundings) as transport:
                check_signing(transport, address)
        except TransportUnavailable:
            continue
        except (AccessRefused, InputError, PluginError) as error:
            yield setting, f"{error.message}; {_WAY_OUT}"


def check_signing(transport: Transport, address: str) -> CanPresign:
    """Return ``transport`` as what signs requests for those who have no credentials.

    Raises:
        InputError: If it cannot.
    """
    if isinstance(transport, CanPresign):
        return transport
    raise InputError(
        f"{without_secret(address)} cannot hold repositories of machines, since "
        "nobody can sign requests for it; use a bucket that speaks S3"
    )
