"""Reads objects and ranges of them, and goes on where a connection ended early."""

from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from backapp_core.plugin_api import ObjectInfo, ObjectMissing, TransferCut
from backapp_plugins.transports.presigned.courier import Answer, Opened
from backapp_plugins.transports.presigned.faults import ConnectionLost
from backapp_plugins.transports.presigned.grants import Grants
from backapp_plugins.transports.presigned.patience import Patience
from backapp_plugins.transports.presigned.sending import Sender


class Reader:
    """Reads from one repository; may be used from any thread."""

    def __init__(self, grants: Grants, sender: Sender) -> None:
        self._grants = grants
        self._sender = sender

    def chunks(self, name: str, offset: int, length_bytes: int | None) -> Generator[bytes]:
        """Yield one empty chunk when the object is opened, then its bytes.

        A connection that breaks is made again, for the bytes that are left of the very same object,
        as long as some come each time or patience lasts.

        Raises:
            ObjectMissing: Before the first chunk, if there is no such object.
            TransferCut: If that does not help, or the object was replaced meanwhile.
        """
        if length_bytes == 0:
            self.stat(name)
            yield b""
            return
        opened = self._open(name, _range(offset, length_bytes))
        if isinstance(opened, Answer):
            yield b""
            return
        coming = _Coming(self, name, offset, opened)
        try:
            if length_bytes is not None and coming.left_bytes > length_bytes:
                raise TransferCut(f"of object '{name}' more came than was asked for")
            yield b""
            yield from coming.chunks(self._sender.patience)
        finally:
            coming.close()

    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of an object, by asking for its first byte.

        Raises:
            ObjectMissing: If there is none.
        """
        opened = self._open(name, "bytes=0-0")
        if isinstance(opened, Answer):  # an empty object has no first byte
            opened = self._open(name, "")
            if isinstance(opened, Answer):
                raise ObjectMissing(f"there is no object '{name}'")
        try:
            size_bytes = _whole_bytes(opened, name)
        finally:
            opened.close()
        return ObjectInfo(name, size_bytes, _stored_at(opened))

    def etag(self, name: str) -> str:
        """Return an object's tag, without quotation marks.

        Raises:
            ObjectMissing: If there is no such object.
        """
        opened = self._open(name, "")
        if isinstance(opened, Answer):
            raise ObjectMissing(f"there is no object '{name}'")
        opened.close()
        return opened.headers.get("etag", "").strip('"')

    def reopened(self, name: str, etag: str, offset: int, left_bytes: int) -> Opened:
        """Open what is left of the very same object.

        Raises:
            ObjectMissing: If it is gone.
            TransferCut: If it is another one.
        """
        opened = self._open(name, _range(offset, left_bytes), etag)
        if isinstance(opened, Answer):
            raise TransferCut(f"object '{name}' became shorter while it was read")
        return opened

    def _open(self, name: str, asked: str, etag: str = "") -> Opened | Answer:
        """Open an object or a range; an answer is returned where nothing lies there.

        Raises:
            ObjectMissing: If there is no such object.
            TransferCut: If the answer is none to what was asked, or the object has another tag.
        """
        more = {"range": asked} if asked else {}
        if etag:
            more["if-match"] = etag
        what = f"object '{name}'"
        opened = self._sender.open(what, lambda anew: self._grants.read(name, anew=anew), more)
        if opened.status == HTTPStatus.NOT_FOUND:
            raise ObjectMissing(f"there is no {what}")
        if opened.status == HTTPStatus.PRECONDITION_FAILED:
            raise TransferCut(f"{what} became another one while it was read")
        if isinstance(opened, Opened) and (opened.status == HTTPStatus.PARTIAL_CONTENT) != bool(
            asked
        ):
            opened.close()
            raise TransferCut(f"{what} came otherwise than asked for; something changes answers")
        return opened


class _Coming:
    """An object that is on its way."""

    def __init__(self, reader: Reader, name: str, offset: int, opened: Opened) -> None:
        self._reader = reader
        self._name = name
        self._offset = offset
        self._opened = opened
        self._etag = opened.headers.get("etag", "")
        self.left_bytes = _said_bytes(opened, name)

    def chunks(self, patience: Patience) -> Iterator[bytes]:
        """Yield what comes, through as many connections as it takes.

        Raises:
            TransferCut: If it does not come as a whole.
        """
        pauses = patience.pauses()
        while self.left_bytes:
            try:
                for chunk in self._opened.chunks():
                    self._offset += len(chunk)
                    self.left_bytes -= len(chunk)
                    pauses = patience.pauses()
                    yield chunk
                lost = "its connection ended"
            except ConnectionLost as error:
                lost = error.message
            if self.left_bytes:
                pause_seconds = next(pauses, None)
                if pause_seconds is None or not self._etag:
                    raise TransferCut(f"object '{self._name}' came incompletely ({lost})")
                self._opened.close()
                patience.wait(pause_seconds)
                self._opened = self._reader.reopened(
                    self._name, self._etag, self._offset, self.left_bytes
                )

    def close(self) -> None:
        """Give the connection back."""
        self._opened.close()


def _range(offset: int, length_bytes: int | None) -> str:
    if length_bytes is None:
        return f"bytes={offset}-" if offset else ""
    return f"bytes={offset}-{offset + length_bytes - 1}"


def _said_bytes(opened: Opened, name: str) -> int:
    """Return how many bytes are to come.

    Raises:
        TransferCut: If the answer does not say.
    """
    said = opened.headers.get("content-length", "")
    if not (said.isascii() and said.isdecimal()):
        raise TransferCut(f"object '{name}' comes without its length")
    return int(said)


def _whole_bytes(opened: Opened, name: str) -> int:
    """Return the size of the object that a range was asked of.

    Raises:
        TransferCut: If the answer does not say.
    """
    if opened.status != HTTPStatus.PARTIAL_CONTENT:
        return _said_bytes(opened, name)
    whole = opened.headers.get("content-range", "").rpartition("/")[2]
    if not (whole.isascii() and whole.isdecimal()):
        raise TransferCut(f"object '{name}' comes without its length")
    return int(whole)


def _stored_at(opened: Opened) -> datetime | None:
    try:
        said = parsedate_to_datetime(opened.headers.get("last-modified", ""))
    except (TypeError, ValueError):
        return None
    return said.astimezone(UTC) if said.tzinfo else None
