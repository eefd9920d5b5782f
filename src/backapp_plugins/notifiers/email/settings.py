"""What a user says about the mail server, and what of it cannot be."""

import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from attrs import frozen

from backapp_core.plugin_api import InvalidSettings, to_line

_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
)
_HOST = re.compile(r"[A-Za-z0-9:](?:[A-Za-z0-9.:-]{0,252}[A-Za-z0-9:])?")
_LONGEST_TIMEOUT_SECONDS = 600
_HIGHEST_PORT = 65535


class Security(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    """Encrypted after the greeting; refused if the server does not offer it."""
    TLS = "tls"
    """Encrypted from the first byte."""
    NONE = "none"
    """In the clear; logs in only to this machine."""


PORTS: Mapping[Security, int] = MappingProxyType(
    {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}
)


@frozen
class EmailSettings:
    """Which mail server takes messages from whom to whom."""

    host: str
    sender: str
    """Plain address, ``backup@example.org``; also where bounces go."""
    recipients: tuple[str, ...]
    """Plain addresses; all of them see one another."""
    port: int | None = None
    """None: 587 for starttls, 465 for tls, 25 for none."""
    security: Security = Security.STARTTLS
    username: str = ""
    """Empty: no login."""
    password_file: str = ""
    """Path of a file with the password on one line, readable by its owner only."""
    timeout_seconds: float = 30
    """Longest wait for any one answer of the server."""
    ca_file: str = ""
    """PEM file with the authorities to trust; empty: those of the system."""

    def __attrs_post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise InvalidSettings("email notifier", faults)


def _faults(settings: EmailSettings) -> list[tuple[str, str]]:
    faults = [
        (
            "host",
            f"'{to_line(settings.host[:80])}' is no host name or address",
            _HOST.fullmatch(settings.host),
        ),
        (
            "sender",
            f"'{to_line(settings.sender[:80])}' is no mail address",
            _ADDRESS.fullmatch(settings.sender),
        ),
        ("recipients", "name at least one", settings.recipients),
        (
            "port",
            f"{settings.port} is no port; use 1 to 65535",
            settings.port is None or 1 <= settings.port <= _HIGHEST_PORT,
        ),
        (
            "timeout_seconds",
            f"must be more than 0 and at most {_LONGEST_TIMEOUT_SECONDS}",
            0 < settings.timeout_seconds <= _LONGEST_TIMEOUT_SECONDS,
        ),
        (
            "username",
            "must be printable ASCII",
            settings.username.isascii() and settings.username.isprintable(),
        ),
        (
            "password_file",
            "username and password_file go together; give both or neither",
            bool(settings.username) == bool(settings.password_file),
        ),
        (
            "security",
            "a login without encryption is sent to this machine only (localhost, 127.0.0.1, ::1);"
            " use starttls or tls, or leave username out",
            settings.security is not Security.NONE
            or not settings.username
            or is_loopback(settings.host),
        ),
    ]
    for index, address in enumerate(settings.recipients):
        problem = f"'{to_line(address[:80])}' is no mail address"
        faults.append((f"recipients[{index}]", problem, _ADDRESS.fullmatch(address)))
    return [(path, reason) for path, reason, is_good in faults if not is_good]


def is_loopback(host: str) -> bool:
    """Say whether ``host`` is this machine, by its own account or as an address."""
    try:
        return (
            host.lower() == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
        )
    except ValueError:
        return False
