"""Refuses requests whose head has no end, before anybody is asked who sends them."""

from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LARGEST_HEAD_BYTES = 64 * 1024


class BoundedHeads(HttpToolsProtocol):
    """One connection; its parser keeps a head in memory until it is complete, whatever its size.

    Bodies have a limit of their own, which belongs to their route.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._idle_bytes = 0
        """Received since the parser last got anywhere: what it keeps, in a head or after a body."""

    @override
    def data_received(self, data: bytes) -> None:
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > _LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    @override
    def on_message_begin(self) -> None:
        self._idle_bytes = 0
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        self._idle_bytes = 0
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._idle_bytes = 0
        super().on_message_complete()
