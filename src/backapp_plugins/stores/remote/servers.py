"""Addresses of servers: where a request goes, and whether a secret may travel there."""

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen

from backapp_core.plugin_api import InvalidAddress, to_line

_ID = re.compile(r"[0-9a-f]{32}")
_ALLOWS_PLAIN = ("insecure", "yes")


@frozen
class Server:
    """Where a server is."""

    origin: str
    """Such as ``https://backup.example.org:8443``."""
    folder: str
    """Path in front of all of ours, without a slash at its end; mostly empty."""

    def url(self, path: str) -> str:
        """Return the URL of a path of the interface."""
        return f"{self.origin}{self.folder}{path}"

    def socket_url(self, path: str) -> str:
        """Return the URL of a WebSocket."""
        return f"ws{self.url(path).removeprefix('http')}"


def parse_server(url: str) -> Server:
    """Understand the address of a server.

    Raises:
        InvalidAddress: If it is none, holds what no such address may hold, or leads over a network
            without TLS although nobody allowed that.
    """
    shown = to_line(url.partition("?")[0])
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidAddress(f"'{shown}' is no address of a server: {error}") from error
    is_line = url.isprintable() and " " not in url
    if parts.scheme not in {"https", "http"} or not parts.hostname or not is_line:
        raise InvalidAddress(
            f"'{shown}' is no address of a server; write it like https://backup.example.org"
        )
    if parts.username is not None or parts.fragment:
        raise InvalidAddress(
            "the address of a server holds neither a user name nor a fragment; "
            "write it like https://backup.example.org"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    _check_options(parts.query, shown)
    if parts.scheme == "http" and not _is_loopback(parts.hostname) and not parts.query:
        raise InvalidAddress(
            f"{shown} has no TLS, so everybody on the way could read the key; use https, or add "
            "?insecure=yes to the address if the whole network between is yours"
        )
    return Server(
        origin=f"{parts.scheme}://{host}{f':{port}' if port else ''}",
        folder=parts.path.rstrip("/"),
    )


def is_id(text: str) -> bool:
    """Say whether a run, repository or question may be called so; nothing else gets into a path."""
    return _ID.fullmatch(text) is not None


def _check_options(query: str, shown: str) -> None:
    if [pair for pair in parse_qsl(query, keep_blank_values=True) if pair != _ALLOWS_PLAIN]:
        raise InvalidAddress(
            f"the address {shown} is followed by something that is not known; "
            "only ?insecure=yes may stand there"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
