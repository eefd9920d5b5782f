"""Keeps the limits of the line around any transport, which does not notice."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from typing_extensions import get_protocol_members, override

from backapp_core.ports.buckets import CanListInOrder, CanPresignParts
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import (
    Body,
    CanPresign,
    CanProbe,
    CanTidy,
    HasFolder,
    ObjectInfo,
    Transport,
)

POWERS: Sequence[type[Any]] = (CanTidy, CanPresign, CanProbe, CanPresignParts, CanListInOrder)
"""What a transport may be able to do besides; whoever has a folder is never slowed down."""


def paced(transport: Transport, surroundings: Surroundings, *, paces_uploads: bool) -> Transport:
    """Return ``transport``, within the limits of the line if it is behind one and there are any.

    Args:
        transport: What was opened; closed by what is returned.
        surroundings: Whose limits, clock and wish to stop count.
        paces_uploads: Whether it waits by itself before it sends, see `TransportKind`.
    """
    if isinstance(transport, HasFolder) or not surroundings.line.is_limited:
        return transport
    return PacedTransport(transport, surroundings, paces_uploads=paces_uploads)


class PacedTransport(Transport):
    """Waits before each piece that is sent, and after each that came; may be used from any thread.

    Contents of objects are counted. Names, listings and what a protocol adds are not.
    """

    def __init__(
        self, inner: Transport, surroundings: Surroundings, *, paces_uploads: bool = False
    ) -> None:
        """Take ``inner`` over, with the powers that it has."""
        self._inner = inner
        self._surroundings = surroundings
        line = surroundings.line
        self._slows_uploads = line.upload.bytes_per_second is not None and not paces_uploads
        self._slows_downloads = line.download.bytes_per_second is not None
        for power in POWERS:
            if isinstance(inner, power):
                for name in get_protocol_members(power):
                    setattr(self, name, getattr(inner, name))

    @property
    @override
    def address(self) -> str:
        return self._inner.address

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        if self._slows_uploads:
            body = self._sent(body)
        return self._inner.put(name, body, size_bytes=size_bytes, replace=replace)

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        chunks = self._inner.get(name, offset=offset, length_bytes=length_bytes)
        if not self._slows_downloads:
            return chunks
        received = self._received(chunks)
        next(received)  # from here on closing or dropping the generator closes the inner one
        return received

    @override
    def read(self, name: str, *, offset: int = 0, length_bytes: int | None = None) -> bytes:
        if not self._slows_downloads:
            return self._inner.read(name, offset=offset, length_bytes=length_bytes)
        return super().read(name, offset=offset, length_bytes=length_bytes)

    @override
    def stat(self, name: str) -> ObjectInfo:
        return self._inner.stat(name)

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return self._inner.list(prefix)

    @override
    def delete(self, name: str) -> None:
        self._inner.delete(name)

    @override
    def prepare(self) -> None:
        self._inner.prepare()

    @override
    def close(self) -> None:
        self._inner.close()

    def _sent(self, body: Body) -> Generator[bytes | memoryview]:
        """Yield a body in pieces that hold until the next one is asked for, each in its time."""
        piece_bytes = self._surroundings.line.upload.piece_bytes
        for chunk in body:
            if len(chunk) <= piece_bytes:
                self._surroundings.wait_to_send(len(chunk))
                yield chunk
                continue
            with memoryview(chunk) as whole:
                for start in range(0, len(whole), piece_bytes):
                    with whole[start : start + piece_bytes] as piece:
                        self._surroundings.wait_to_send(len(piece))
                        yield piece

    def _received(self, chunks: Iterator[bytes]) -> Generator[bytes]:
        """Yield an empty chunk, and then what comes, each once the line may carry more."""
        try:
            yield b""
            for chunk in chunks:
                self._surroundings.wait_to_receive(len(chunk))
                yield chunk
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
