"""Stores a body of any size: in one request while it fits into memory, else in parts."""

import contextlib
import hashlib
from collections.abc import Sequence

from backapp_core.plugin_api import (
    Body,
    InputError,
    ObjectExists,
    ObjectMissing,
    TransferCut,
    TransportError,
)
from backapp_plugins.transports.s3.bucket import Bucket, joint_tag
from backapp_plugins.transports.s3.claims import claimed

PART_BYTES = 16 << 20
_WHOLE_BYTES = 64 << 20
_MOST_PARTS = 10_000
_EQUAL_PARTS = 5_000


def store(
    bucket: Bucket,
    key: str,
    body: Body,
    *,
    size_bytes: int | None,
    replace: bool,
    tag: str,
) -> int:
    """Store ``body`` and return its size; see `Transport.put`.

    What has 64 MiB at most and whose size is known, or 16 MiB at most, is one request, which the
    server carries out or refuses as a whole. Anything larger is sent in parts of 16 MiB, each with
    its MD5, and becomes an object when all of them are there. Up to 80 GiB of unknown size all
    parts but the last are equal, which some servers insist on; then they grow, up to 1.6 TiB.

    ``tag`` names this writer and nobody else.

    Raises:
        ObjectExists: If the name is taken and ``replace`` is not set.
        TransferCut: If ``body`` does not have ``size_bytes`` bytes.
    """
    upload = _Upload(bucket, key, size_bytes, replace=replace, tag=tag)
    try:
        for chunk in body:
            upload.add(chunk)
        return upload.finish()
    except BaseException:
        # What is under way tells more than that the server is gone as well; `tidy` comes later.
        with contextlib.suppress(TransportError):
            upload.abandon()
        raise


def complete(
    bucket: Bucket, key: str, upload_id: str, parts: Sequence[tuple[int, str]], *, tag: str
) -> None:
    """Make one object of parts that others sent, numbered from 1; see `CanPresignParts`.

    ``tag`` names this caller and nobody else.

    Raises:
        InputError: If a number is left out.
        ObjectExists: If there is another object; the parts are gone then.
        ObjectMissing: If there is no such upload.
    """
    if [number for number, _ in parts] != [*range(1, len(parts) + 1)]:
        raise InputError("an upload is completed with all of its parts, in order")
    tags = [etag.strip('"') for _, etag in parts]

    def is_there() -> bool:
        with contextlib.suppress(ObjectMissing):
            return bucket.head(key).etag == joint_tag(tags)
        return False

    try:
        with claimed(bucket, key, tag):
            bucket.complete(key, upload_id, tags, replace=False, is_there=is_there)
    except ObjectExists:
        if not is_there():
            bucket.abort(key, upload_id)
            raise


class _Upload:
    def __init__(
        self, bucket: Bucket, key: str, size_bytes: int | None, *, replace: bool, tag: str
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._said_bytes = size_bytes
        self._replace = replace
        self._tag = tag
        self._digest = hashlib.md5(usedforsecurity=False)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._done_bytes = 0
        self._id = ""
        self._tags: list[str] = []

    def add(self, chunk: bytes | memoryview) -> None:
        self._done_bytes += len(chunk)
        if self._said_bytes is not None and self._done_bytes > self._said_bytes:
            raise TransferCut(f"{self._what} was to have {self._said_bytes} bytes but more came")
        self._waiting.append(bytes(chunk))
        self._waiting_bytes += len(chunk)
        is_whole = self._said_bytes is not None and self._said_bytes <= _WHOLE_BYTES
        if not is_whole and self._waiting_bytes > self._part_bytes:
            self._send(self._take())

    def finish(self) -> int:
        if self._said_bytes is not None and self._done_bytes != self._said_bytes:
            raise TransferCut(
                f"{self._what} was to have {self._said_bytes} bytes but {self._done_bytes} came"
            )
        rest = self._take()
        if not self._id:
            self._bucket.put(self._key, rest, replace=self._replace)
            return self._done_bytes
        self._send(rest, is_last=True)
        if self._replace:
            self._complete()
        else:
            with claimed(self._bucket, self._key, self._tag):
                self._complete()
        self._id = ""
        return self._done_bytes

    def abandon(self) -> None:
        if self._id:
            self._bucket.abort(self._key, self._id)

    @property
    def _what(self) -> str:
        return f"object '{self._key.removeprefix(self._bucket.client.address.key_prefix)}'"

    @property
    def _part_bytes(self) -> int:
        if self._said_bytes is not None:
            return max(PART_BYTES, -(-self._said_bytes // _MOST_PARTS))
        return PART_BYTES * (1 + max(0, len(self._tags) - _EQUAL_PARTS) // 250)

    def _take(self) -> bytes:
        whole = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return whole

    def _send(self, whole: bytes, *, is_last: bool = False) -> None:
        """Send as many parts as ``whole`` fills, and keep the rest; the last one is sent, too."""
        start = 0
        while len(whole) - start > self._part_bytes or (is_last and start < len(whole)):
            part = whole[start : start + self._part_bytes]
            start += len(part)
            if not self._id:
                self._id = self._bucket.begin(self._key)
            self._digest.update(part)
            number = len(self._tags) + 1
            self._tags.append(self._bucket.put_part(self._key, self._id, number, part))
        if start < len(whole):
            self._waiting.append(whole[start:])
            self._waiting_bytes = len(whole) - start

    def _complete(self) -> None:
        tags, bucket = self._tags, self._bucket

        def is_there() -> bool:
            return bucket.holds(self._key, self._done_bytes, self._digest.digest(), joint_tag(tags))

        bucket.complete(self._key, self._id, tags, replace=self._replace, is_there=is_there)
