"""Addresses of buckets: ``s3://bucket/prefix``, and restic's forms, which name the server."""

import re
from contextlib import suppress
from urllib.parse import quote, unquote, urlsplit

from attrs import frozen

from backapp_core.plugin_api import InvalidAddress

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_SERVER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
# What can be no bucket is a server, as in restic's ``s3://server/bucket``.
_CERTAIN_SERVER = re.compile(r"\[.*|.*:[0-9]+|(.*\.)?amazonaws\.com(\.cn)?", re.IGNORECASE)
_ENDPOINT = re.compile(r"https?://[^\s?#]+", re.IGNORECASE)
_LONGEST_PREFIX_BYTES = 500  # 1024 bytes of a key less 512 of an object's name
_FORMS = "an S3 address is s3://bucket/prefix or s3:https://server/bucket/prefix"
_KEYS_WITHIN = (
    "keys do not belong in an address; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "a profile, or [transports.s3] of the settings file"
)


@frozen
class S3Address:
    """Which bucket, and which part of it."""

    bucket: str
    prefix: str = ""
    """Parts of keys, joined by ``/``, without one at either end; empty for the whole bucket."""
    endpoint: str = ""
    """``https://server:port``; empty means what settings, environment or AWS say."""

    @property
    def text(self) -> str:
        """The address in the form that it is shown in, which is read alike."""
        path = f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket
        return f"s3:{self.endpoint}/{quote(path)}" if self.endpoint else f"s3://{path}"

    @property
    def key_prefix(self) -> str:
        """What stands before an object's name in its key."""
        return f"{self.prefix}/" if self.prefix else ""


def parse_s3(address: str) -> S3Address:
    """Read ``s3://bucket/prefix``, ``s3:https://server/bucket/prefix`` or ``s3:server/bucket``.

    A server without a scheme is asked by ``https``. In a form with ``https://`` or ``http://`` the
    path is that of a URL (``%20`` for a blank), elsewhere it is taken as it stands.

    Raises:
        InvalidAddress: If it is none of these, or holds keys, which belong somewhere else.
    """
    rest = address[len("s3:") :]
    if re.match(r"https?://", rest, re.IGNORECASE):
        return _parse_url(rest)
    is_short = not rest.startswith("//")
    first, _, others = rest.removeprefix("//").partition("/")
    if "@" in first:
        raise InvalidAddress(_KEYS_WITHIN)
    if not is_short and not _CERTAIN_SERVER.fullmatch(first):
        return _checked(first, others, "")
    if not _SERVER.fullmatch(first):
        raise InvalidAddress(_FORMS)
    bucket, _, prefix = others.partition("/")
    return _checked(bucket, prefix, _server_of(f"https://{first}"))


def _parse_url(url: str) -> S3Address:
    server = _server_of(url)
    bucket, _, prefix = unquote(urlsplit(url).path).lstrip("/").partition("/")
    return _checked(bucket, prefix, server)


def _server_of(url: str) -> str:
    """Return the part of a URL that names the server, as ``https://server:port``.

    Raises:
        InvalidAddress: If it names none that there can be, or holds keys or more than a path.
    """
    try:
        parts = urlsplit(url)
        is_server = _SERVER.fullmatch(parts.netloc) and parts.port != 0
    except ValueError:
        raise InvalidAddress(f"{_FORMS}; its port is a number up to 65535") from None
    if "@" in parts.netloc:
        raise InvalidAddress(_KEYS_WITHIN)
    if not is_server or parts.query or parts.fragment:
        raise InvalidAddress(_FORMS)
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}"


def is_endpoint(url: str) -> bool:
    """Say whether there can be a server of this URL; it holds no keys."""
    with suppress(InvalidAddress):
        return bool(_ENDPOINT.fullmatch(url)) and bool(_server_of(url))
    return False


def _checked(bucket: str, prefix: str, endpoint: str) -> S3Address:
    prefix = prefix.strip("/")
    parts = prefix.split("/") if prefix else []
    if not _BUCKET.fullmatch(bucket):
        raise InvalidAddress(f"{_FORMS}; {bucket!a} can be no bucket")
    if any(part in {"", ".", ".."} for part in parts) or not prefix.isprintable():
        raise InvalidAddress(
            f"the prefix {prefix!a} in bucket '{bucket}' has a part that it may not"
        )
    try:
        is_long = len(prefix.encode()) > _LONGEST_PREFIX_BYTES
    except UnicodeEncodeError:
        raise InvalidAddress(f"the prefix {prefix!a} is no valid Unicode") from None
    if is_long:
        raise InvalidAddress(f"the prefix is longer than {_LONGEST_PREFIX_BYTES} bytes")
    return S3Address(bucket, prefix, endpoint)
