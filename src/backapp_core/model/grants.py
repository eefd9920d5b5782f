"""What an agent may do to one object in a bucket, and what the bucket makes sure of by itself."""

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
class Grant:
    """One request that may be sent as it is, and no other."""

    name: str
    """The object that it is about."""
    method: str
    """``GET``, ``PUT``, ``HEAD`` or ``DELETE``."""
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...]
    """Headers that have to be sent with exactly these values."""
    expires_at: datetime
    """By the issuer's clock."""


@frozen
class Granted:
    """What an issuer answered, and what time it was there."""

    grants: tuple[Grant, ...]
    """In the order of the wishes."""
    issued_at: datetime


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


@frozen
class Enforcement:
    """What a bucket refuses by itself; found out by trying."""

    creates_only: bool
    """A signed ``If-None-Match: *`` is honoured."""
    signed_length: bool
    """A body of another length than the signed one is refused."""
    content_md5: bool
    """A body that differs from a signed ``Content-MD5`` is refused."""
    sha256: bool
    """A body that differs from a signed SHA-256 checksum is refused."""

    @property
    def pins_content(self) -> bool:
        """Whether nothing but the agreed bytes can arrive under a grant."""
        return self.signed_length and (self.content_md5 or self.sha256)
