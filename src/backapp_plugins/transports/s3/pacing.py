"""Bodies of requests that go out a piece at a time, each when the line may carry it."""

from typing import Any

from backapp_core.plugin_api import Surroundings


def slow_down(client: Any, surroundings: Surroundings) -> None:
    """Let a client of botocore keep the limit of what is sent, in every request and attempt."""

    def replace_body(request: Any, **_: Any) -> None:
        # Signed and measured already; from here on it is only read, from its beginning.
        if isinstance(request.body, bytes | bytearray):
            request.body = PacedBody(request.body, surroundings)

    client.meta.events.register("before-send.s3", replace_body)


class PacedBody:
    """What the library takes for a file, and reads while it sends; used by one thread."""

    def __init__(self, data: bytes | bytearray, surroundings: Surroundings) -> None:
        self._data = data
        self._surroundings = surroundings
        self._at = 0
        self._paid = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, count: int) -> bytes:
        """Return what comes next, at most ``count`` bytes and at most a piece, once it may go.

        Raises:
            RunCancelled: If the run is to stop meanwhile.
        """
        if self._at == self._paid:
            piece_bytes = self._surroundings.line.upload.piece_bytes
            self._paid = min(len(self._data), self._at + piece_bytes)
            self._surroundings.wait_to_send(self._paid - self._at)
        end = min(self._paid, self._at + count)
        part = bytes(self._data[self._at : end])
        self._at = end
        return part

    def seek(self, to: int) -> None:
        """Begin anew at ``to``; what is read from there on goes over the line again."""
        self._at = self._paid = to
