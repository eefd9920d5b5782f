"""The ``fsspec`` transport: any URL that fsspec opens, and SFTP servers."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from backapp_core.plugin_api import (
    InvalidAddress,
    InvalidSettings,
    Level,
    LogLine,
    Surroundings,
    TransportKind,
    hookimpl,
)
from backapp_plugins.transports.fsspec_url.sftp_address import parse_sftp

if TYPE_CHECKING:
    from backapp_plugins.transports.fsspec_url.transport import DiskTransport

__all__ = ["KIND", "FsspecSettings", "backapp_transports", "open_url", "parse_address"]

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*(?=::?)")
_MEMORY = "memory"
# In a URL, and in the short form of sftp (user:password@host:path).
_SECRET = re.compile(r"(//[^/@:]*|^sftp:(?!//)[^/@:]*(?=:[^/]*@[^/@]*:)):[^/]*@", re.IGNORECASE)
_SFTP_SCHEMES = {"sftp", "ssh"}


def hide_secrets(address: str) -> str:
    """Return ``address`` with the password of each ``user:password@`` replaced by ``***``."""
    return _SECRET.sub(r"\1:***@", address)


@frozen
class FsspecSettings:
    """Which URL, and what it cannot say."""

    url: str = field(repr=hide_secrets)
    options: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)
    """Given to fsspec's file system as they are; for sftp the fields of `SftpOptions`."""


def parse_address(address: str) -> FsspecSettings:
    """Read a URL that fsspec understands, or an sftp address in either of restic's forms.

    Raises:
        InvalidAddress: If it has no scheme, nothing of a URL after it (``s3:host/bucket``), or is a
            malformed sftp address.
    """
    scheme = _SCHEME.match(address)
    if scheme is None or "\0" in address:
        raise InvalidAddress(f"address '{hide_secrets(address)!a}' is no URL")
    if scheme[0].lower() in _SFTP_SCHEMES:
        parse_sftp(address)
    elif not address.startswith(("://", "::"), scheme.end()) and scheme[0].lower() != _MEMORY:
        # fsspec would take it for a relative path, and a backup would go into a folder nearby.
        raise InvalidAddress(
            f"'{hide_secrets(address)}' needs a transport that is not installed; "
            f"for a folder of this name write ./{address} or local:{address}"
        )
    return FsspecSettings(address)


def open_url(settings: FsspecSettings, surroundings: Surroundings) -> "DiskTransport":
    """Open the transport; nothing is created.

    Raises:
        InvalidSettings: If there are options that an sftp server does not have.
    """
    # Every command asks for the kind, few open one.
    from backapp_plugins.transports.fsspec_url.any_disk import open_disk
    from backapp_plugins.transports.fsspec_url.sftp import SftpDisk
    from backapp_plugins.transports.fsspec_url.sftp_sessions import SftpOptions
    from backapp_plugins.transports.fsspec_url.transport import DiskTransport

    scheme = _SCHEME.match(settings.url)
    if scheme is not None and scheme[0].lower() == _MEMORY:
        text = f"what is stored at {settings.url} is gone when this program ends"
        surroundings.events(LogLine(Level.WARNING, text))
    if scheme is None or scheme[0].lower() not in _SFTP_SCHEMES:
        disk = open_disk(settings.url, settings.options, hide_secrets(settings.url))
        return DiskTransport(disk, surroundings)
    address = parse_sftp(settings.url)
    try:
        options = SftpOptions(**settings.options)
    except TypeError as error:
        raise InvalidSettings(address.text, [("options", str(error))]) from error
    return DiskTransport(SftpDisk(address, options), surroundings)


KIND = TransportKind(
    name="fsspec",
    schemes=frozenset({"*", "sftp", "ssh", "memory"}),
    settings=FsspecSettings,
    parse=parse_address,
    open=open_url,
)


@hookimpl
def backapp_transports() -> Sequence[TransportKind]:
    """Offer the fsspec transport."""
    return [KIND]
