"""What an agent may want of the objects in a bucket, and what it is told of them."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from attrs import field, frozen, validators

_LARGEST_SIGNED = 5 * 1024**3  # what one PUT may carry, by the rules of S3


class ObjectSort(StrEnum):
    """What an object is to its repository."""

    CONFIG = "config"
    """Written once, when the repository is created."""
    KEY = "key"
    """Opens it; an agent writes the first and no further one."""
    DATA = "data"
    """Packs, archives, indexes, manifests: never replaced."""
    SNAPSHOT = "snapshot"
    """What makes a backup count; never replaced."""
    LOCK = "lock"
    """Says that somebody is at work; whoever wrote it may delete it."""


@frozen
class WriteWish:
    """An object that an agent has sealed and wants to store."""

    name: str
    size_bytes: int = field(validator=[validators.ge(0), validators.le(_LARGEST_SIGNED)])
    sha256: str = field(validator=validators.matches_re(r"[0-9a-f]{64}"))
    """Hash of the bytes, 64 hex digits."""
    md5: str = field(validator=validators.matches_re(r"[0-9a-f]{32}"))
    """Hash of the bytes, 32 hex digits; what many stores check where they check nothing better."""


@frozen
class SignedRequest:
    """One HTTP request that a destination answers without credentials, until it expires.

    Whoever holds it may send it, so its URL is a secret, which is in no message and in no ``repr``.
    """

    method: str
    """``PUT``, ``GET``, ``HEAD`` or ``DELETE``."""
    url: str = field(repr=False)
    """To be sent as it is; its query holds the signature."""
    headers: Mapping[str, str] = field(repr=False)
    """What has to be sent word for word, names in lower case; ``host``, which is signed as well,
    follows from the URL and is not among them. The destination refuses other values, and a request
    that leaves one out."""
    expires_at: datetime
    """From then on the destination refuses it, by its own clock."""


@frozen
class Granted:
    """What an issuer answered, and what time it was there."""

    requests: tuple[SignedRequest, ...]
    """In the order of the wishes."""
    issued_at: datetime
    """By the clock that `SignedRequest.expires_at` goes by."""


@frozen
class ObjectSeen:
    """An object that a backup says it wrote, or a listing showed."""

    name: str
    size_bytes: int
    modified_at: datetime | None = None


@frozen
class ObjectPage:
    """A part of a listing."""

    objects: tuple[ObjectSeen, ...]
    next_after: str = ""
    """What to ask for next; empty at the end."""
