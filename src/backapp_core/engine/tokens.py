"""Secrets that let somebody in: made of 256 random bits, shown once, remembered by their hash."""

import hashlib
import re

from backapp_core.ports.surroundings import Surroundings

_BYTES = 32
_LONGEST = 256
_REST = re.compile(r"[A-Za-z0-9_-]{32,}")


def new_token(surroundings: Surroundings, prefix: str = "") -> str:
    """Return a new secret, ``prefix`` and 64 hex digits."""
    return prefix + surroundings.random_bytes(_BYTES).hex()


def new_id(surroundings: Surroundings) -> str:
    """Return a new name for something that is remembered, 32 hex digits."""
    return surroundings.random_bytes(16).hex()


def hash_of(token: str) -> str:
    """Return what a store knows a secret by: its SHA-256, 64 hex digits.

    A fast hash is enough for what nobody can guess.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_well_formed(token: str, prefix: str) -> bool:
    """Say whether ``token`` begins with ``prefix`` and goes on long enough to be a secret."""
    return (
        token.startswith(prefix)
        and len(token) <= _LONGEST
        and _REST.fullmatch(token.removeprefix(prefix)) is not None
    )
