"""Finds out what a server enforces of signed requests, by breaking each of them once."""

import hashlib
from collections.abc import Callable

from backapp_core.plugin_api import AccessRefused, Enforcement, SignedRequest, TransportUnavailable
from backapp_plugins.transports.s3.bucket import Bucket
from backapp_plugins.transports.s3.signing import Signer

PREFIX = ".backapp-probe-"
"""Keys that begin so are no objects."""
_LIFETIME_SECONDS = 300
_BODY = b"backapp looks what is enforced\n"
_OTHER = b"Backapp looks what is enforced\n"
_STORED = range(200, 300)
_REFUSED = range(400, 500)


def probe(bucket: Bucket, signer: Signer, tag: str) -> Enforcement:
    """Store tiny objects under names that hold ``tag``, and delete what is stored.

    Raises:
        TransportUnavailable: If the server does not answer.
        AccessRefused: If it takes no signed request at all, or does not let itself be cleaned up.
    """
    keys = {
        what: f"{bucket.client.address.key_prefix}{PREFIX}{tag}-{what}"
        for what in ("name", "length", "md5", "sha256")
    }
    send = bucket.client.sender()
    try:
        status = send(_signed(signer, keys["name"]), _BODY)
        if status not in _STORED:
            raise AccessRefused(
                f"{bucket.client.server} does not take a signed request ({status}) for "
                f"'{bucket.client.address.text}'; the keys need s3:PutObject, and the clock must "
                "be right"
            )
        return Enforcement(
            create_only=_is_refused(send, _signed(signer, keys["name"]), _BODY),
            signed_length=_is_refused(send, _signed(signer, keys["length"]), _BODY + b"more"),
            content_md5=_is_refused(send, _signed(signer, keys["md5"], md5_of=_OTHER), _BODY),
            sha256_checksum=_is_refused(
                send, _signed(signer, keys["sha256"], sha256_of=_OTHER), _BODY
            ),
        )
    finally:
        for key in keys.values():
            bucket.delete(key)


def _signed(
    signer: Signer, key: str, *, md5_of: bytes = _BODY, sha256_of: bytes = _BODY
) -> SignedRequest:
    return signer.sign_put(
        key,
        size_bytes=len(_BODY),
        sha256=hashlib.sha256(sha256_of).digest(),
        md5=hashlib.md5(md5_of, usedforsecurity=False).digest(),
        lifetime_seconds=_LIFETIME_SECONDS,
    )


def _is_refused(
    send: Callable[[SignedRequest, bytes], int], request: SignedRequest, body: bytes
) -> bool:
    status = send(request, body)
    if status in _REFUSED:
        return True
    if status in _STORED:
        return False
    raise TransportUnavailable(f"what is enforced cannot be found out: the server answers {status}")
