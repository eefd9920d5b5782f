"""Contents that go to a server a piece at a time, each when the line may carry it."""

from typing import Any

from backapp_core.plugin_api import Surroundings


def slow_down(client: Any, surroundings: Surroundings) -> None:
    """Let a client of botocore keep the limit of what is sent, in every attempt of a request."""

    def replace_body(request: Any, **_: Any) -> None:
        # Signed and measured already; from here on it is read once, while it is sent. What is no
        # file is a question of a few bytes.
        if hasattr(request.body, "read"):
            request.body = PacedBody(request.body, surroundings)

    client.meta.events.register("before-send.s3", replace_body)


class PacedBody:
    """A file of the library's, which is read no faster than it may be sent; used by one thread."""

    def __init__(self, file: Any, surroundings: Surroundings) -> None:
        self._file = file
        self._surroundings = surroundings

    def read(self, count: int) -> bytes:
        """Return what comes next, at most ``count`` bytes and at most a piece, once it may go.

        Raises:
            RunCancelled: If the run is to stop meanwhile.
        """
        part: bytes = self._file.read(min(count, self._surroundings.line.upload.piece_bytes))
        self._surroundings.wait_to_send(len(part))
        return part

    def seek(self, to: int) -> None:
        """Begin anew at ``to``; what is read from there on goes over the line again."""
        self._file.seek(to)
