"""The ``folder`` transport: objects as files below a folder of this machine."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import frozen

from backapp_core.plugin_api import InvalidAddress, Surroundings, TransportKind, hookimpl
from backapp_plugins.transports.folder.transport import FolderTransport

__all__ = ["KIND", "FolderSettings", "FolderTransport", "backapp_transports", "parse_address"]

_THIS_MACHINE = ("", "localhost")


@frozen
class FolderSettings:
    """Which folder."""

    folder: Path
    """Made absolute when it is opened; ``~`` and ``~user`` stand for home folders."""


def parse_address(address: str) -> FolderSettings:
    """Read a plain path, ``file:///path`` or ``file:/path`` (with ``%`` escapes).

    Raises:
        InvalidAddress: If it is empty, names another machine, or holds a NUL.
    """
    path = address
    if address[:5].lower() == "file:":
        parts = urlsplit(address)
        if parts.netloc not in _THIS_MACHINE or not parts.path.startswith("/"):
            raise InvalidAddress(
                f"address '{address}' is no folder of this machine; write file:///path"
            )
        path = unquote(address.removeprefix(f"{address[:5]}//{parts.netloc}").removeprefix("file:"))
    if not path or "\0" in path:
        raise InvalidAddress(f"address {address!a} names no folder")
    return FolderSettings(Path(path))


def open_folder(settings: FolderSettings, surroundings: Surroundings) -> FolderTransport:
    """Open the transport; nothing is created.

    Raises:
        InvalidAddress: If something else than a folder stands there, or ``~user`` is nobody.
    """
    try:
        folder = settings.folder.expanduser().absolute()
    except RuntimeError:
        raise InvalidAddress(f"address '{settings.folder}': there is no such home folder") from None
    if folder.exists() and not folder.is_dir():
        raise InvalidAddress(f"address '{folder}' is no folder")
    return FolderTransport(folder, surroundings)


KIND = TransportKind(
    name="folder",
    schemes=frozenset({"", "file"}),
    settings=FolderSettings,
    parse=parse_address,
    open=open_folder,
)


@hookimpl
def backapp_transports() -> Sequence[TransportKind]:
    """Offer the folder transport."""
    return [KIND]
