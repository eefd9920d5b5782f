"""Stores objects: in one request while they fit into memory, else in parts."""

import contextlib
import hashlib
from collections.abc import Iterator
from http import HTTPStatus

from attrs import frozen

from backapp_core.plugin_api import (
    Body,
    ObjectExists,
    ObjectMissing,
    TransferCut,
    TransportError,
    TransportUnavailable,
    WriteWish,
)
from backapp_plugins.transports.presigned.grants import Grants
from backapp_plugins.transports.presigned.reading import Reader
from backapp_plugins.transports.presigned.sending import Sender

_MOST_PARTS = 10_000
_EQUAL_PARTS = 5_000


@frozen
class Sizes:
    """What is sent as a whole, and how large parts are."""

    whole_bytes: int = 64 << 20
    part_bytes: int = 16 << 20
    """At least 5 MiB, by the rules of S3."""


SIZES = Sizes()
"""What holds if nobody says otherwise."""


class Writer:
    """Stores objects of one repository; may be used from any thread."""

    def __init__(self, grants: Grants, sender: Sender, reader: Reader, sizes: Sizes) -> None:
        self._grants = grants
        self._sender = sender
        self._reader = reader
        self._sizes = sizes

    def put(self, name: str, body: Body, said_bytes: int | None) -> int:
        """Store an object and return its size; see `Transport.put`.

        Raises:
            ObjectExists: If the name is taken.
            TransferCut: If ``body`` does not have as many bytes as was said.
        """
        counted = _Counted(name, body, said_bytes)
        is_large = said_bytes is not None and said_bytes > self._sizes.whole_bytes
        chunks = iter(counted)
        first = b"" if is_large else _gather(chunks, self._sizes.whole_bytes + 1)
        if is_large or len(first) > self._sizes.whole_bytes:
            self._put_parts(name, first, chunks, said_bytes)
        else:
            self._put_whole(name, first)
        return counted.done_bytes

    def _put_whole(self, name: str, data: bytes) -> None:
        wish = _wish(name, data)
        sent = self._sender.send(f"object '{name}'", lambda _anew: self._grants.write(wish), data)
        if sent.answer.status == HTTPStatus.PRECONDITION_FAILED:
            if sent.was_in_doubt and self._holds(wish):
                return
            raise ObjectExists(f"object '{name}' exists already")
        _require_stored(name, sent.answer.status)

    def _holds(self, wish: WriteWish) -> bool:
        """Say whether what stands there is what we sent; it is read only if its tag is no MD5."""
        try:
            if self._reader.stat(wish.name).size_bytes != wish.size_bytes:
                return False
            if self._reader.etag(wish.name) == wish.md5:
                return True
            digest = hashlib.sha256()
            for chunk in self._reader.chunks(wish.name, 0, None):
                digest.update(chunk)
        except ObjectMissing:
            return False
        return digest.hexdigest() == wish.sha256

    def _put_parts(
        self, name: str, first: bytes, chunks: Iterator[bytes | memoryview], said_bytes: int | None
    ) -> None:
        upload = self._grants.begin(name)
        tags: list[tuple[int, str]] = []
        try:
            for part in self._cut(first, chunks, said_bytes):
                number = len(tags) + 1
                tags.append((number, self._put_part(name, upload, number, part)))
            self._grants.complete(name, upload, tags)
        except BaseException:
            # What is under way tells more than that the parts could not be thrown away.
            with contextlib.suppress(TransportError):
                self._grants.abandon(name, upload)
            raise

    def _put_part(self, name: str, upload: str, number: int, part: bytes) -> str:
        wish = _wish(name, part)
        sent = self._sender.send(
            f"part {number} of object '{name}'",
            lambda _anew: self._grants.part(name, upload, wish, number),
            part,
        )
        _require_stored(name, sent.answer.status)
        return sent.answer.headers.get("etag", "").strip('"')

    def _cut(
        self, first: bytes, chunks: Iterator[bytes | memoryview], said_bytes: int | None
    ) -> Iterator[bytes]:
        """Yield parts of equal size, which grow only where there would be too many of them."""
        waiting = bytearray(first)
        count = 0
        while True:
            if said_bytes is not None:
                part_bytes = max(self._sizes.part_bytes, -(-said_bytes // _MOST_PARTS))
            else:
                part_bytes = self._sizes.part_bytes * (1 + max(0, count - _EQUAL_PARTS) // 250)
            if len(waiting) < part_bytes:
                waiting += _gather(chunks, part_bytes - len(waiting))
            part = bytes(waiting[:part_bytes])
            del waiting[:part_bytes]
            if not part:
                return
            yield part
            count += 1


class _Counted:
    """A body that has as many bytes as was said."""

    def __init__(self, name: str, body: Body, said_bytes: int | None) -> None:
        self._name = name
        self._body = body
        self._said_bytes = said_bytes
        self.done_bytes = 0

    def __iter__(self) -> Iterator[bytes | memoryview]:
        said = self._said_bytes
        for chunk in self._body:
            self.done_bytes += len(chunk)
            if said is not None and self.done_bytes > said:
                raise TransferCut(f"object '{self._name}' was to have {said} bytes but more came")
            yield chunk
        if said is not None and self.done_bytes != said:
            raise TransferCut(
                f"object '{self._name}' was to have {said} bytes but {self.done_bytes} came"
            )


def _gather(chunks: Iterator[bytes | memoryview], enough_bytes: int) -> bytes:
    """Return what comes next, until it is ``enough_bytes`` or a chunk more, or the end."""
    gathered: list[bytes] = []
    count = 0
    for chunk in chunks:
        gathered.append(bytes(chunk))  # a copy of what may be used again, none of what is bytes
        count += len(chunk)
        if count >= enough_bytes:
            break
    return gathered[0] if len(gathered) == 1 else b"".join(gathered)


def _wish(name: str, data: bytes) -> WriteWish:
    return WriteWish(
        name=name,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )


def _require_stored(name: str, status: int) -> None:
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise TransportUnavailable(
            f"object '{name}' cannot be stored, since the bucket or the upload is gone ({status})"
        )
