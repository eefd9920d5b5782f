"""Signs one request in its URL, by AWS's Signature Version 4.

The library does the same in eight times the time, and writes what it signs into its log.
"""

import base64
import hashlib
import hmac
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from attrs import frozen

from backapp_core.plugin_api import (
    LONGEST_LIFETIME_SECONDS,
    Clock,
    InputError,
    SignedRequest,
)
from backapp_plugins.transports.s3.client import Client, Keys

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_LONGEST_PUT_BYTES = 5 << 30
_SHA256_BYTES = 32
_MD5_BYTES = 16
_MOST_PARTS = 10_000


@frozen
class _SigningKey:
    """Good for one day, region and key."""

    made_of: tuple[str, str]
    key: bytes


class Signer:
    """Signs requests about one bucket; asks nobody, and may be used from any thread."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._place: tuple[str, str, str] | None = None
        self._signing_key: _SigningKey | None = None

    def sign_put(
        self, key: str, *, size_bytes: int, sha256: bytes, md5: bytes, lifetime_seconds: int
    ) -> SignedRequest:
        """Sign the creation of exactly one object; see `CanPresign`.

        The SHA-256 is signed twice: as the checksum that a server stores, which some ignore, and as
        the hash of the body that belongs to the signature itself, which is hardly ever ignored.

        Raises:
            InputError: If size, digest or lifetime are none.
            AccessRefused: If there are no keys.
        """
        headers = {
            **_pinned(size_bytes, sha256, md5),
            "if-none-match": "*",
            "x-amz-checksum-sha256": base64.b64encode(sha256).decode(),
        }
        return self._sign("PUT", key, headers, lifetime_seconds, payload=sha256.hex())

    def sign_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        *,
        size_bytes: int,
        sha256: bytes,
        md5: bytes,
        lifetime_seconds: int,
    ) -> SignedRequest:
        """Sign the sending of one part of an object; see `CanPresignParts`.

        The checksum that a server stores is left out: only uploads that were begun with one take
        it.

        Raises:
            InputError: If number, size, digest or lifetime are none.
            AccessRefused: If there are no keys.
        """
        if not 1 <= number <= _MOST_PARTS:
            raise InputError(f"an object has parts 1 to {_MOST_PARTS} and none {number}")
        headers = _pinned(size_bytes, sha256, md5)
        more = f"&partNumber={number}&uploadId={quote(upload_id, safe='-_.~')}"
        return self._sign(
            "PUT", key, headers, lifetime_seconds, payload=sha256.hex(), more_query=more
        )

    def sign_get(
        self, key: str, *, offset: int, length_bytes: int | None, lifetime_seconds: int
    ) -> SignedRequest:
        """Sign the reading of an object or of a range of it.

        Raises:
            InputError: If range or lifetime are none.
            AccessRefused: If there are no keys.
        """
        if offset < 0 or (length_bytes is not None and length_bytes < 1):
            raise InputError("a range begins at 0 or later, and has a byte at least")
        headers: dict[str, str] = {}
        if length_bytes is not None:
            headers["range"] = f"bytes={offset}-{offset + length_bytes - 1}"
        elif offset:
            headers["range"] = f"bytes={offset}-"
        return self._sign("GET", key, headers, lifetime_seconds)

    def sign_bare(self, method: str, key: str, *, lifetime_seconds: int) -> SignedRequest:
        """Sign a request that has nothing but a method and a name.

        Raises:
            InputError: If the lifetime is none.
            AccessRefused: If there are no keys.
        """
        return self._sign(method, key, {}, lifetime_seconds)

    def _sign(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        lifetime_seconds: int,
        *,
        payload: str = _UNSIGNED,
        more_query: str = "",
    ) -> SignedRequest:
        if not 1 <= lifetime_seconds <= LONGEST_LIFETIME_SECONDS:
            raise InputError(
                f"a signed request lives from 1 to {LONGEST_LIFETIME_SECONDS} seconds and not "
                f"{lifetime_seconds}"
            )
        now = self._clock.now().replace(microsecond=0)
        keys = self._client.keys()
        origin, host, folder = self._where()
        scope = f"{now:%Y%m%d}/{self._client.region}/s3/aws4_request"
        path = folder + quote(key, safe="/-_.~")
        signed = {**headers, "host": host}
        names = sorted(signed)
        # What is added begins with small letters, so it comes last in the order that is signed.
        query = _query(keys, scope, now, lifetime_seconds, ";".join(names)) + more_query
        canonical = "\n".join(
            (
                *(method, path, query),
                *(f"{name}:{signed[name]}" for name in names),
                *("", ";".join(names), payload),
            )
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{now:%Y%m%dT%H%M%SZ}\n{scope}\n{digest}"
        signature = hmac.digest(self._key_for(keys, scope), to_sign.encode(), "sha256").hex()
        return SignedRequest(
            method=method,
            url=f"{origin}{path}?{query}&X-Amz-Signature={signature}",
            headers=dict(headers),
            expires_at=now + timedelta(seconds=lifetime_seconds),
        )

    def _where(self) -> tuple[str, str, str]:
        """Return ``https://host``, host, and what stands before a key in a path."""
        if self._place is None:
            place = urlsplit(self._client.place_of("x"))
            origin = f"{place.scheme}://{place.netloc}"
            self._place = (origin, place.netloc, place.path.removesuffix("x"))
        return self._place

    def _key_for(self, keys: Keys, scope: str) -> bytes:
        """Return the key of a day, which is derived in four steps, once."""
        made_of = (keys.secret_key, scope)
        with self._lock:
            known = self._signing_key
        if known is None or known.made_of != made_of:
            key = b"AWS4" + keys.secret_key.encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            known = _SigningKey(made_of, key)
            with self._lock:
                self._signing_key = known
        return known.key


def _pinned(size_bytes: int, sha256: bytes, md5: bytes) -> dict[str, str]:
    """Return the headers that say exactly which body is sent.

    Raises:
        InputError: If size or digest are none.
    """
    if not 0 <= size_bytes <= _LONGEST_PUT_BYTES:
        raise InputError(f"an object of {size_bytes} bytes cannot be stored in one request")
    if len(sha256) != _SHA256_BYTES or len(md5) != _MD5_BYTES:
        raise InputError("a SHA-256 has 32 bytes and an MD5 has 16")
    return {
        "content-length": str(size_bytes),
        "content-md5": base64.b64encode(md5).decode(),
        "x-amz-content-sha256": sha256.hex(),
    }


def _query(keys: Keys, scope: str, now: datetime, seconds: int, names: str) -> str:
    """Return the query as it is signed: names in order, everything escaped."""
    token = f"&X-Amz-Security-Token={quote(keys.token, safe='-_.~')}" if keys.token else ""
    return (
        f"X-Amz-Algorithm={_ALGORITHM}"
        f"&X-Amz-Credential={quote(f'{keys.access_key}/{scope}', safe='-_.~')}"
        f"&X-Amz-Date={now:%Y%m%dT%H%M%SZ}&X-Amz-Expires={seconds}{token}"
        f"&X-Amz-SignedHeaders={names.replace(';', '%3B')}"
    )
