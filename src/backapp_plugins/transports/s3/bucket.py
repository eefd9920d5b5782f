"""The part of a bucket below one prefix, by the few questions that the transport has."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from attrs import frozen

from backapp_core.plugin_api import BackappError, ObjectExists, ObjectMissing, TransferCut
from backapp_plugins.transports.s3.client import Client
from backapp_plugins.transports.s3.faults import Refusal

_GONE_OR_TAKEN = {HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED}
_SQUEEZED = {"gzip", "deflate", "br", "zstd"}  # nothing of ours is stored so


@frozen
class Found:
    """One stored object, or one upload that was not completed."""

    key: str
    size_bytes: int
    etag: str
    """Without quotation marks; the MD5 in hex where the server encrypts nothing."""
    modified_at: datetime
    age_seconds: float = 0.0
    """Since it was stored, by the server's own clock; only where one object was asked for."""
    upload_id: str = ""


@frozen
class Page:
    """One answer of a listing."""

    found: Sequence[Found]
    next_token: str
    """Empty at the end."""


@frozen
class Opened:
    """An answer whose content is still on its way; `read` raises whatever the library does."""

    etag: str
    size_bytes: int
    """How many bytes are to come."""
    read: Callable[[int], bytes]
    close: Callable[[], None]


class Bucket:
    """Every method may be called from any thread, waits for faults that pass, and raises ours."""

    def __init__(self, client: Client) -> None:
        """Take over ``client``; the transport closes it."""
        self.client = client

    # --- one object

    def put(self, key: str, data: bytes | bytearray, *, replace: bool, if_etag: str = "") -> None:
        """Store ``data`` in one request; create only, unless ``replace`` or ``if_etag`` is given.

        If an answer was lost and the next one says that the name is taken, what stands there is
        looked at: when it is ``data``, it was stored.

        Raises:
            ObjectExists: If the name is taken, or what stands there has another tag.
            TransferCut: If the data arrived damaged, again and again.
        """
        digest = hashlib.md5(data, usedforsecurity=False)
        condition: dict[str, str] = {}
        if if_etag:
            condition = {"IfMatch": f'"{if_etag}"'}
        elif not replace:
            condition = {"IfNoneMatch": "*"}
        in_doubt = False

        def store() -> None:
            nonlocal in_doubt
            try:
                self.client.call_once(
                    "put_object",
                    key=key,
                    Body=data,
                    ContentLength=len(data),
                    ContentMD5=base64.b64encode(digest.digest()).decode(),
                    **condition,
                )
            except Exception as error:
                was_in_doubt, in_doubt = in_doubt, True
                is_taken = Refusal.of(error).status == HTTPStatus.PRECONDITION_FAILED
                if not (is_taken and was_in_doubt and self.holds(key, len(data), digest.digest())):
                    raise

        self._patiently(store, "put_object", key)

    def holds(self, key: str, size_bytes: int, md5: bytes, etag: str = "") -> bool:
        """Say whether ``key`` has exactly this content; it is read only if its tag is no MD5."""
        try:
            found = self.head(key)
        except ObjectMissing:
            return False
        if found.size_bytes != size_bytes:
            return False
        if found.etag == (etag or md5.hex()):
            return True
        digest = hashlib.md5(usedforsecurity=False)
        opened = self.get(key, {})
        try:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
        finally:
            opened.close()
        return digest.digest() == md5

    def get(self, key: str, parameters: Mapping[str, str]) -> Opened:
        """Open an object, or the range of it that ``parameters`` name.

        Beyond the object's end nothing comes.

        Raises:
            ObjectMissing: If there is none.
            TransferCut: If what answers is no object store, or changes what it hands on.
        """
        answer = self.client.call(
            "get_object",
            key=key,
            tolerated=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            **parameters,
        )
        if not answer:
            return Opened("", 0, lambda _count: b"", lambda: None)
        body: Any = answer["Body"]
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        is_range = status == HTTPStatus.PARTIAL_CONTENT
        is_squeezed = answer.get("ContentEncoding") in _SQUEEZED
        if is_range != ("Range" in parameters) or "ETag" not in answer or is_squeezed:
            body.close()
            raise TransferCut(
                f"what answers at {self.client.server} is no object store, or something in between "
                f"changes its answers (asked for object '{key}', status {status})"
            )
        return Opened(_etag(answer), int(answer["ContentLength"]), body.read, body.close)

    def head(self, key: str) -> Found:
        """Return what is known of an object.

        Raises:
            ObjectMissing: If there is none.
        """
        answer = self.client.call("head_object", key=key)
        stored_at = answer["LastModified"]
        age_seconds = (_answered_at(answer, stored_at) - stored_at).total_seconds()
        return Found(key, int(answer["ContentLength"]), _etag(answer), stored_at, age_seconds)

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        try:
            self.head(key)
        except ObjectMissing:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object; removing what is absent is fine."""
        try:
            self.client.call("delete_object", key=key)
        except ObjectMissing:
            return

    # --- all of them

    def page(self, prefix: str, token: str, *, most: int = 1000, after: str = "") -> Page:
        """List keys that begin with ``prefix``, from where ``token`` says, or after a key.

        Raises:
            ObjectMissing: If there is no such bucket.
        """
        more: dict[str, Any] = {"ContinuationToken": token} if token else {}
        if after:
            more = {"StartAfter": after}
        answer = self.client.call("list_objects_v2", Prefix=prefix, MaxKeys=most, **more)
        found = [
            Found(one["Key"], int(one["Size"]), _etag(one), one["LastModified"])
            for one in answer.get("Contents", ())
        ]
        return Page(found, answer.get("NextContinuationToken", "") if _is_cut(answer) else "")

    def create(self) -> None:
        """Create the bucket; one that is ours already is fine."""
        region = self.client.region
        where: dict[str, Any] = {}
        if self.client.is_amazon and region != "us-east-1":
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self.client.call("create_bucket", **where)
        except ObjectExists:
            return

    # --- objects in parts

    def begin(self, key: str) -> str:
        """Begin an upload in parts and return its id."""
        return str(self.client.call("create_multipart_upload", key=key)["UploadId"])

    def put_part(self, key: str, upload_id: str, number: int, data: bytes | bytearray) -> str:
        """Store one part and return its tag; storing it again is fine."""
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        answer = self.client.call(
            "upload_part",
            key=key,
            UploadId=upload_id,
            PartNumber=number,
            Body=data,
            ContentLength=len(data),
            ContentMD5=base64.b64encode(digest).decode(),
        )
        return _etag(answer)

    def complete(
        self,
        key: str,
        upload_id: str,
        tags: Sequence[str],
        *,
        replace: bool,
        is_there: Callable[[], bool],
    ) -> None:
        """Make an object of the parts, in one step.

        Servers that know how to create only are told so. If an answer was lost, ``is_there`` says
        whether what stands there was made of these parts.

        Raises:
            ObjectExists: If the name is taken, on a server that looks.
        """
        parts = [{"PartNumber": at, "ETag": f'"{tag}"'} for at, tag in enumerate(tags, 1)]
        condition = {} if replace else {"IfNoneMatch": "*"}
        in_doubt = False

        def finish() -> None:
            nonlocal in_doubt
            try:
                self.client.call_once(
                    "complete_multipart_upload",
                    key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                    **condition,
                )
            except Exception as error:
                was_in_doubt, in_doubt = in_doubt, True
                is_done = Refusal.of(error).status in _GONE_OR_TAKEN
                if not (is_done and was_in_doubt and is_there()):
                    raise

        self._patiently(finish, "complete_multipart_upload", key)

    def abort(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts; one that is gone is fine."""
        try:
            self.client.call("abort_multipart_upload", key=key, UploadId=upload_id)
        except ObjectMissing:
            return

    def uploads(self, prefix: str) -> Sequence[Found]:
        """Return the uploads below ``prefix`` that were neither completed nor aborted."""
        found: list[Found] = []
        more: dict[str, Any] = {}
        while True:
            answer = self.client.call("list_multipart_uploads", Prefix=prefix, **more)
            found += [
                Found(one["Key"], 0, "", one["Initiated"], upload_id=one["UploadId"])
                for one in answer.get("Uploads", ())
            ]
            following = {
                "KeyMarker": answer.get("NextKeyMarker", ""),
                "UploadIdMarker": answer.get("NextUploadIdMarker", ""),
            }
            if not _is_cut(answer) or following == more:
                return found
            more = following

    def last_part_at(self, found: Found) -> datetime:
        """Return when the newest part of an upload was stored, or when it was begun.

        Raises:
            ObjectMissing: If the upload is gone.
        """
        newest: datetime = found.modified_at
        marker = 0
        while True:
            answer = self.client.call(
                "list_parts", key=found.key, UploadId=found.upload_id, PartNumberMarker=marker
            )
            newest = max([newest, *(one["LastModified"] for one in answer.get("Parts", ()))])
            following = int(answer.get("NextPartNumberMarker", 0))
            if not _is_cut(answer) or following <= marker:
                return newest
            marker = following

    def _patiently(self, act: Callable[[], None], operation: str, key: str) -> None:
        try:
            self.client.patience.call(act)
        except BackappError:
            raise
        except Exception as error:
            explained = self.client.explained(error, operation, key)
            raise explained from error


def _answered_at(answer: Mapping[str, Any], otherwise: datetime) -> datetime:
    headers: Mapping[str, str] = answer["ResponseMetadata"].get("HTTPHeaders", {})
    try:
        return parsedate_to_datetime(str(headers.get("date", "")))
    except (TypeError, ValueError):
        return otherwise


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _is_cut(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("IsTruncated", False))


def joint_tag(tags: Sequence[str]) -> str:
    """Return the tag of an object whose parts have these tags."""
    try:
        raw = b"".join(bytes.fromhex(tag) for tag in tags)
    except ValueError:
        return "?"  # the server's tags are no digests
    return f"{hashlib.md5(raw, usedforsecurity=False).hexdigest()}-{len(tags)}"
