"""Objects as keys below a prefix of one bucket."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from typing_extensions import override

from backapp_core.plugin_api import (
    AccessRefused,
    Body,
    Enforcement,
    InvalidName,
    Level,
    ListedPage,
    LogLine,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    SignedRequest,
    Surroundings,
    Transport,
    TransportUnavailable,
    check_object_name,
    check_object_prefix,
)
from backapp_plugins.transports.s3 import claims, probing
from backapp_plugins.transports.s3.bucket import Bucket, Found, Page
from backapp_plugins.transports.s3.client import Client
from backapp_plugins.transports.s3.reading import chunks
from backapp_plugins.transports.s3.signing import Signer
from backapp_plugins.transports.s3.uploads import complete, store

_ABANDONED_SECONDS = 86_400.0

_numbers = itertools.count()  # two writers of this process never have the same tag


class S3Transport(Transport):
    """What stands below the prefix of an address.

    Stored are whole objects: with ``If-None-Match: *`` unless they may replace. So of several
    writers of one new name exactly one succeeds, on every server that knows this condition
    (`probe` finds out). Large objects are sent in parts, and when those become an object some
    servers, Ceph's among them, ignore the condition. There, writers of large objects exclude one
    another by a claim (see `claims`) and look for the name while they hold it: exactly one of them
    succeeds as long as none is held up for ten minutes between that look and the next request.
    What is left is a small and a large object that are given one new name within the same
    milliseconds: the large one may then replace the small one. Names that are made of the content
    or of chance, as those of every archiver here, never get there.

    May be used from any thread, several at a time.
    """

    def __init__(self, client: Client, surroundings: Surroundings) -> None:
        """Take over ``client``; `close` closes it."""
        self._client = client
        self._bucket = Bucket(client)
        self._signer = Signer(client, surroundings.clock)
        self._clock = surroundings.clock
        self._random_bytes = surroundings.random_bytes
        self._events = surroundings.events

    @property
    @override
    def address(self) -> str:
        return self._client.address.text

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        key = self._key(name)
        # Not every server knows the condition that `store` sets.
        if not replace and self._bucket.exists(key):
            raise ObjectExists(f"object '{name}' at '{self.address}' exists already")
        return store(
            self._bucket, key, body, size_bytes=size_bytes, replace=replace, tag=self._tag()
        )

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        opened = chunks(self._bucket, self._key(name), name, offset, length_bytes)
        next(opened)  # opens; from here on closing or dropping the generator lets go
        return opened

    @override
    def stat(self, name: str) -> ObjectInfo:
        return _info(name, self._bucket.head(self._key(name)))

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        below = self._client.address.key_prefix
        wanted = below + check_object_prefix(prefix)
        return (
            _info(name, found)
            for found in self._found(wanted)
            if (name := _object_name(found.key.removeprefix(below)))
        )

    @override
    def delete(self, name: str) -> None:
        self._bucket.delete(self._key(name))

    @override
    def prepare(self) -> None:
        """Create the bucket if there is none.

        Raises:
            AccessRefused: If these keys may not list it, or not create it; says which.
        """
        try:
            self._bucket.page(self._client.address.key_prefix, "", most=1)
        except ObjectMissing:
            self._create()

    @override
    def close(self) -> None:
        self._client.close()

    # --- what a killed writer leaves

    def tidy(self, *, older_than_seconds: float) -> int:
        """Abort uploads to which nothing was added for a day at least; return how many.

        The small objects of claims and probes go as well.
        """
        seconds = max(older_than_seconds, _ABANDONED_SECONDS)
        prefix = self._client.address.key_prefix
        tidied = 0
        for upload in self._uploads(prefix):
            with contextlib.suppress(ObjectMissing):
                if self._is_older(upload.modified_at, seconds) and self._is_older(
                    self._bucket.last_part_at(upload), seconds
                ):
                    self._bucket.abort(upload.key, upload.upload_id)
                    tidied += 1
        for own in (claims.FOLDER, probing.PREFIX):
            for found in self._found(prefix + own):
                if self._is_older(found.modified_at, seconds):
                    self._bucket.delete(found.key)
                    tidied += 1
        return tidied

    # --- for others to send

    def sign_put(
        self, name: str, *, size_bytes: int, sha256: bytes, md5: bytes, lifetime_seconds: int
    ) -> SignedRequest:
        """Sign the creation of one object; see `CanPresign`."""
        return self._signer.sign_put(
            self._key(name),
            size_bytes=size_bytes,
            sha256=sha256,
            md5=md5,
            lifetime_seconds=lifetime_seconds,
        )

    def sign_get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None, lifetime_seconds: int
    ) -> SignedRequest:
        """Sign the reading of an object or a range; see `CanPresign`."""
        return self._signer.sign_get(
            self._key(name),
            offset=offset,
            length_bytes=length_bytes,
            lifetime_seconds=lifetime_seconds,
        )

    def sign_head(self, name: str, *, lifetime_seconds: int) -> SignedRequest:
        """Sign the question for an object; see `CanPresign`."""
        return self._signer.sign_bare("HEAD", self._key(name), lifetime_seconds=lifetime_seconds)

    def sign_delete(self, name: str, *, lifetime_seconds: int) -> SignedRequest:
        """Sign the removal of an object; see `CanPresign`."""
        return self._signer.sign_bare("DELETE", self._key(name), lifetime_seconds=lifetime_seconds)

    def sign_part(
        self,
        name: str,
        upload: str,
        number: int,
        *,
        size_bytes: int,
        sha256: bytes,
        md5: bytes,
        lifetime_seconds: int,
    ) -> SignedRequest:
        """Sign the sending of one part; see `CanPresignParts`."""
        return self._signer.sign_part(
            self._key(name),
            upload,
            number,
            size_bytes=size_bytes,
            sha256=sha256,
            md5=md5,
            lifetime_seconds=lifetime_seconds,
        )

    def begin_upload(self, name: str) -> str:
        """Begin an object that others send in parts; see `CanPresignParts`."""
        return self._bucket.begin(self._key(name))

    def complete_upload(self, name: str, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        """Make one object of what others sent; see `CanPresignParts`."""
        complete(self._bucket, self._key(name), upload, parts, tag=self._tag())

    def abandon_upload(self, name: str, upload: str) -> None:
        """Throw away what others sent; see `CanPresignParts`."""
        self._bucket.abort(self._key(name), upload)

    def list_after(self, prefix: str, after: str, *, most: int) -> ListedPage:
        """Return a part of the listing; see `CanListInOrder`."""
        below = self._client.address.key_prefix
        wanted = below + check_object_prefix(prefix)
        pages = self._pages(wanted, most=most, after=below + after if after else "")
        # What is next is a name, which a page without any does not have.
        page = next((page for page in pages if page.found), Page((), ""))
        named = [(_object_name(found.key.removeprefix(below)), found) for found in page.found]
        return ListedPage(
            [_info(name, found) for name, found in named if name],
            page.found[-1].key.removeprefix(below) if page.next_token else "",
        )

    def probe(self) -> Enforcement:
        """Find out what the server enforces; see `CanProbe`."""
        return probing.probe(self._bucket, self._signer, self._tag())

    # --- within

    def _key(self, name: str) -> str:
        return self._client.address.key_prefix + check_object_name(name)

    def _tag(self) -> str:
        return f"{os.getpid()}-{next(_numbers)}-{self._random_bytes(8).hex()}"

    def _found(self, prefix: str) -> Iterator[Found]:
        last = ""
        for page in self._pages(prefix):
            for found in page.found:
                if found.key != last:
                    yield found
                last = found.key

    def _pages(self, prefix: str, *, most: int = 1000, after: str = "") -> Iterator[Page]:
        token = ""
        while True:
            try:
                page = self._bucket.page(prefix, token, most=most, after=after)
            except ObjectMissing:
                return
            yield page
            if not page.next_token:
                return
            if page.next_token == token:
                raise TransportUnavailable(f"the listing of '{self.address}' does not end")
            token, after = page.next_token, ""

    def _uploads(self, prefix: str) -> Sequence[Found]:
        """Return uploads under way; a server that does not tell is no reason to fail."""
        try:
            return self._bucket.uploads(prefix)
        except ObjectMissing:
            return ()
        except AccessRefused as error:
            text = f"uploads that were broken off cannot be looked for: {error.message}"
            self._events(LogLine(Level.WARNING, text))
            return ()

    def _create(self) -> None:
        bucket, server = self._client.address.bucket, self._client.server
        try:
            self._bucket.create()
        except AccessRefused as error:
            if "s3:CreateBucket" not in error.message:
                raise
            raise AccessRefused(
                f"there is no bucket '{bucket}' at {server}, and these keys lack the permission "
                "s3:CreateBucket; have it created, or check its name"
            ) from error

    def _is_older(self, moment: datetime, seconds: float) -> bool:
        return (self._clock.now() - moment).total_seconds() >= seconds


def _object_name(name: str) -> str:
    """Return ``name`` if an object may be called so, else nothing."""
    try:
        return check_object_name(name)
    except InvalidName:
        return ""


def _info(name: str, found: Found) -> ObjectInfo:
    # Only listings know fractions of seconds.
    stored_at = found.modified_at.astimezone(UTC).replace(microsecond=0)
    return ObjectInfo(name, found.size_bytes, stored_at)
