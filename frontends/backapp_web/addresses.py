"""Where the server listens, and what it is called from outside."""

import ipaddress
import socket

from attrs import frozen

from backapp_core.errors import InputError, StoreUnavailable
from backapp_core.settings import ServerSettings
from backapp_web.callers import Connection, is_secure, server_of

_BACKLOG = 2048
_MOST_PORT = 65535


@frozen
class Place:
    """A host and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def text(self) -> str:
        """As it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_place(text: str) -> Place:
    """Read ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        InputError: If it is none.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _MOST_PORT:
        raise InputError(f"{text!a} is no place to listen; write it like 127.0.0.1:8300")
    return Place(host, int(port))


def check_place(place: Place, settings: ServerSettings) -> None:
    """Refuse to listen where passwords and keys would travel in the clear.

    Raises:
        InputError: If others reach the place, and there is neither TLS nor a trusted proxy; or if
            only one of the two TLS files is given.
    """
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise InputError("TLS takes both a certificate and its key; give --tls-cert and --tls-key")
    if place.is_loopback or settings.tls_cert or settings.trusted_proxies:
        return
    raise InputError(
        f"others reach {place.text}, and passwords would travel in the clear; give --tls-cert and"
        " --tls-key, or name the proxy that speaks TLS with --trusted-proxy, or listen on 127.0.0.1"
    )


def listening(place: Place) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        StoreUnavailable: If the port is in use, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((place.host, place.port))
        taken.listen(_BACKLOG)
        taken.set_inheritable(False)
    except OSError as error:
        taken.close()
        raise StoreUnavailable(
            f"the server cannot listen on {place.text}: {error.strerror or error}"
        ) from error
    return taken


def own_url(connection: Connection) -> str:
    """Return what browsers and machines reach the server by, without a slash at the end."""
    public = server_of(connection).settings.public_url
    if public:
        return public
    scheme = "https" if is_secure(connection) else "http"
    return f"{scheme}://{connection.headers.get('host', '')}"
