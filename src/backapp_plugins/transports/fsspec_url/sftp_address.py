"""Addresses of SFTP servers: restic's short form, and URLs as fsspec reads them."""

import re
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from backapp_core.plugin_api import InvalidAddress

_SHORT = re.compile(
    r"sftp:(?:(?P<user>[^:@/]+)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<host>\[[^\]]+\]|[^:/@\[\]]+):(?P<path>.*)",
    re.DOTALL,
)


@frozen
class SftpAddress:
    """Who and where; what is not said is asked of the user's ssh configuration."""

    host: str
    path: str
    """Absolute, or relative to the user's home folder there (empty for that folder itself)."""
    user: str | None = None
    port: int | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """The address without its password."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port is None:
            return f"sftp:{user}{host}:{self.path}"
        path = self.path if self.path.startswith("/") else f"/~/{self.path}"
        return f"sftp://{user}{host}:{self.port}{path}"


def parse_sftp(address: str) -> SftpAddress:
    """Read ``sftp:user@host:path`` or ``sftp://user@host:port/path``.

    Either may hold a password after the user (``user:password@``). In the first form a path that
    does not begin with a slash is relative to the home folder. In a URL it is absolute, unless it
    begins with ``/~/``; the second slash of restic's URLs is fine.

    Raises:
        InvalidAddress: If it is neither.
    """
    if re.match(r"(sftp|ssh)://", address, re.IGNORECASE):
        return _parse_url(address)
    match = _SHORT.fullmatch(address)
    if match is None or "\0" in address:
        raise InvalidAddress(
            "an sftp address is sftp:user@host:/folder or sftp://user@host:port/folder"
        )
    return SftpAddress(
        host=match["host"].strip("[]"),
        path=_path(match["path"]),
        user=match["user"],
        password=match["password"] or None,
    )


def _parse_url(address: str) -> SftpAddress:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise InvalidAddress("the port of an sftp address is a number up to 65535") from None
    if not parts.hostname or "\0" in unquote(parts.path):
        raise InvalidAddress("an sftp address names a host, as in sftp://user@host/folder")
    return SftpAddress(
        host=unquote(parts.hostname),
        path=_url_path(unquote(parts.path)),
        user=unquote(parts.username) if parts.username else None,
        port=port,
        password=unquote(parts.password) if parts.password else None,
    )


def _url_path(path: str) -> str:
    if path == "/~" or path.startswith("/~/"):
        return _path(path[3:].lstrip("/"))
    return _path("/" + path.lstrip("/")) if path else ""


def _path(path: str) -> str:
    return path.rstrip("/") or ("/" if path else "")
