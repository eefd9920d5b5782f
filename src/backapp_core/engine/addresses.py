"""Repository addresses: plain paths, URLs, restic's forms; and from an address to a transport."""

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from backapp_core.codec import from_plain
from backapp_core.engine.pacing import paced
from backapp_core.errors import InvalidAddress, InvalidSettings
from backapp_core.manager import PluginManager
from backapp_core.model.names import to_line
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import Transport, TransportKind

# One letter before the colon is a drive of Windows.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
# restic's and scp's habits; on Windows a backslash divides as well.
_FAR = re.compile(r"[^/\\:]{2,}:")
# In a URL, and in the short form of sftp (user:password@host:path).
_SECRET = re.compile(
    r"((?<=://)[^/@:\s]*|^sftp:(?!//)[^/@:\s]*(?=:[^/\s]*@[^/@\s]*:)):[^/\s]*@", re.IGNORECASE
)


@frozen
class Address:
    """An address as it was understood."""

    text: str
    """What the transport kind is given to parse."""
    scheme: str
    """Lower case; empty for a plain path."""

    @property
    def shown(self) -> str:
        """The address without the password that may stand in it."""
        return without_secret(self.text)


def without_secret(text: str) -> str:
    """Return an address as people may see it: a password in it becomes three stars."""
    return _SECRET.sub(r"\1:***@", text)


def parse_address(text: str) -> Address:
    r"""Understand ``text`` as an address.

    Args:
        text: A path (``/srv/backup``, ``C:\backup``), ``local:PATH``, a URL, or restic's
            ``sftp:user@host:path`` and ``s3:host/bucket``. What stands after a scheme is for the
            transport to parse.

    Raises:
        InvalidAddress: If it is empty, no single line, ``local:`` without a path, or something like
            ``user@host:path`` that nobody means as a folder.
    """
    if not text.strip():
        raise InvalidAddress("the repository address is empty")
    if any(character in text for character in "\0\r\n"):
        raise InvalidAddress(f"the repository address {without_secret(text)!a} is not one line")
    match = _SCHEME.match(text)
    if match is None:
        _refuse_far(text)
        return Address(text, "")
    scheme = match[1].lower()
    rest = text[match.end() :]
    if scheme == "local":
        return Address(_path_of_local(rest), "")
    return Address(f"{scheme}:{rest}", scheme)


def open_transport(plugins: PluginManager, address: str, surroundings: Surroundings) -> Transport:
    """Open what stands at ``address``; nothing is created there.

    It keeps the limits of the line, unless it is a folder of this machine.

    Raises:
        InvalidAddress: If the address makes no sense.
        InvalidSettings: If what the settings say of transports does not fit; lists every fault.
        UnknownPlugin: If no installed transport opens such addresses.
        TransportError: If the destination cannot be reached or refuses.
        PartMissing: If a library is not installed.
    """
    parsed = parse_address(address)
    _check_tables(plugins, surroundings.transports)
    kind = plugins.transport_for(parsed.scheme)
    settings = _with_options(kind, kind.parse(parsed.text), surroundings.transports)
    return paced(kind.open(settings, surroundings), surroundings, paces_uploads=kind.paces_uploads)


def _check_tables(plugins: PluginManager, tables: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse what is said of a transport that is not there, or that has no options.

    Raises:
        InvalidSettings: If there is such; lists all.
    """
    if not tables:
        return
    known = sorted(kind.name for kind in plugins.transports.kinds if kind.options is not None)
    reason = f"no installed transport has options under this name; known are: {', '.join(known)}"
    faults = [(f"transports.{name}", reason) for name in tables if name not in known]
    if faults:
        raise InvalidSettings("the settings", faults)


def _with_options(
    kind: TransportKind, settings: Any, tables: Mapping[str, Mapping[str, object]]
) -> Any:
    if kind.options is None or kind.name not in tables:
        return settings
    options = from_plain(
        dict(tables[kind.name]), kind.options, source=f"[transports.{kind.name}] of the settings"
    )
    return evolve(settings, options=options)


def _refuse_far(text: str) -> None:
    if _FAR.match(text) is None:
        return
    server, _, _ = text.partition(":")
    hint = f"for that server write sftp:{text}; " if "@" in server else ""
    raise InvalidAddress(
        f"'{to_line(text)}' is no address that is understood; "
        f"{to_line(hint)}for a folder of this name write {to_line(f'./{text}')}"
    )


def _path_of_local(rest: str) -> str:
    if not rest:
        raise InvalidAddress("the address 'local:' names no path")
    return rest
