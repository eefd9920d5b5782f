"""Who may complete an upload in parts, where the server itself does not look for the name.

A claim is a small object that is created, like any other, only if it is not there; its name is made
of the name that is to be given. Whoever holds it looks whether that name is free, gives it, and
lets the claim go.
"""

import contextlib
import hashlib
from collections.abc import Generator

from backapp_core.plugin_api import (
    ObjectExists,
    ObjectMissing,
    TransportError,
    TransportUnavailable,
)
from backapp_plugins.transports.s3.bucket import Bucket

FOLDER = ".backapp-claims/"
"""Keys in it are no objects: their names begin with a dot."""
_ABANDONED_SECONDS = 600.0
_LOOKS = 80
_LONGEST_LOOK_SECONDS = 10


@contextlib.contextmanager
def claimed(bucket: Bucket, key: str, tag: str) -> Generator[None]:
    """Hold the claim to ``key`` while the block runs; ``tag`` is nobody else's.

    A claim of somebody who held it for ten minutes, by the server's clock, is taken over: it is the
    rest of a process that was killed between two requests.

    Raises:
        ObjectExists: If ``key`` is taken.
        TransportUnavailable: If somebody else holds the claim for too long.
    """
    claim = _key_of(bucket, key)
    _take(bucket, claim, key, tag)
    try:
        if bucket.exists(key):
            raise ObjectExists(_taken(bucket, key))
        yield
    finally:
        with contextlib.suppress(TransportError):
            bucket.delete(claim)


def _take(bucket: Bucket, claim: str, key: str, tag: str) -> None:
    body = tag.encode()
    for number in range(_LOOKS):
        with contextlib.suppress(ObjectExists):
            bucket.put(claim, body, replace=False)
            return
        with contextlib.suppress(ObjectMissing, ObjectExists):
            held = bucket.head(claim)
            if held.age_seconds > _ABANDONED_SECONDS:
                bucket.put(claim, body, replace=True, if_etag=held.etag)
                return
        if bucket.exists(key):
            raise ObjectExists(_taken(bucket, key))
        bucket.client.patience.wait(min(1 + number, _LONGEST_LOOK_SECONDS))
    raise TransportUnavailable(
        f"somebody else is about to store '{key}' and does not come to an end"
    )


def _key_of(bucket: Bucket, key: str) -> str:
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{bucket.client.address.key_prefix}{FOLDER}{name}"


def _taken(bucket: Bucket, key: str) -> str:
    name = key.removeprefix(bucket.client.address.key_prefix)
    return f"object '{name}' at '{bucket.client.address.text}' exists already"
