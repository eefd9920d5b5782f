"""The border to httpx2: sends what was signed, word for word, and says how it was answered.

URLs hold signatures, so they are in no message, and the library's own log does not show them.
"""

import logging
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import final

import httpx2
from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import SignedRequest, Surroundings
from backapp_plugins.transports.presigned.faults import ConnectionLost

_CONNECT_SECONDS = 10.0
_TRANSFER_SECONDS = 60.0
_SPARE_CONNECTIONS = 8
_LARGEST_ANSWER_BYTES = 64 << 10
_CHUNK_BYTES = 1 << 20
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_HOPELESS = "CERTIFICATE_VERIFY_FAILED"


class _WithoutQueries(logging.Filter):
    """Cuts what is secret off the URLs that the library notes."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                one.copy_with(query=None) if isinstance(one, httpx2.URL) else one
                for one in record.args
            )
        return True


logging.getLogger("httpx2").addFilter(_WithoutQueries())


@frozen
class Answer:
    """What the destination said, without the content of an object."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    code: str = ""
    """The word for a refusal that S3 has, such as ``AccessDenied``; empty if there is none."""
    is_about_age: bool = False
    """Whether a refusal speaks of something that expired."""


@final
class Opened:
    """An answer whose content is still on its way."""

    def __init__(self, response: httpx2.Response, chunk_bytes: int = _CHUNK_BYTES) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers)
        self._response = response
        self._chunk_bytes = chunk_bytes

    def chunks(self) -> Iterator[bytes]:
        """Yield the content as it comes.

        Raises:
            ConnectionLost: If it ends early.
        """
        with _translated(self._response.request):
            yield from self._response.iter_raw(self._chunk_bytes)

    def answer(self) -> Answer:
        """Read what is left, unless it is long, and let go.

        Raises:
            ConnectionLost: If it ends early.
        """
        content = b""
        try:
            for chunk in self.chunks():
                content += chunk
                if len(content) > _LARGEST_ANSWER_BYTES:
                    break
        finally:
            self.close()
        code = _CODE.search(content)
        return Answer(
            self.status,
            self.headers,
            code[1].decode() if code else "",
            is_about_age=b"expired" in content.lower(),
        )

    def close(self) -> None:
        """Give the connection back."""
        self._response.close()


@final
class Courier:
    """Sends requests; may be used from any thread."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._chunk_bytes = min(_CHUNK_BYTES, surroundings.line.download.sip_bytes)
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(_TRANSFER_SECONDS, connect=_CONNECT_SECONDS, pool=None),
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=2 * surroundings.threads + _SPARE_CONNECTIONS,
            ),
            headers={"accept-encoding": "identity"},
            follow_redirects=False,
        )

    def send(self, request: SignedRequest, body: bytes = b"") -> Answer:
        """Send a request with its body, and return the answer.

        Raises:
            ConnectionLost: If there was none; whether the request was carried out is open.
            RunCancelled: If the run is to stop while the body waits for the line.
        """
        return self._open(request, body, {}).answer()

    def open(self, request: SignedRequest, more: Mapping[str, str]) -> Opened:
        """Send a request with headers that are not signed, and return the answer as it begins.

        Raises:
            ConnectionLost: If there was none.
        """
        return self._open(request, b"", more)

    def close(self) -> None:
        """Give connections back; closing twice is fine."""
        self._client.close()

    def _open(self, request: SignedRequest, body: bytes, more: Mapping[str, str]) -> Opened:
        headers = {**request.headers, **more}
        content: bytes | Iterator[bytes] | None = None
        if request.method == "PUT":
            content = body
            if body and self._surroundings.line.upload.bytes_per_second is not None:
                content = self._in_pieces(body)
                headers = {"content-length": str(len(body)), **headers}
        try:
            made = self._client.build_request(
                request.method, request.url, headers=headers, content=content
            )
        except (httpx2.InvalidURL, ValueError, TypeError):
            # Its words would show what is secret.
            raise ConnectionLost("what was signed is no request", is_hopeless=True) from None
        with _translated(made):
            return Opened(self._client.send(made, stream=True), self._chunk_bytes)

    def _in_pieces(self, body: bytes) -> Generator[bytes]:
        """Yield a body a piece at a time, each when the line may carry it."""
        piece_bytes = self._surroundings.line.upload.piece_bytes
        for start in range(0, len(body), piece_bytes):
            piece = body[start : start + piece_bytes]
            self._surroundings.wait_to_send(len(piece))
            yield piece


@contextmanager
def _translated(request: httpx2.Request) -> Generator[None]:
    """Turn the library's errors into ours.

    Raises:
        ConnectionLost: If the library raises.
    """
    try:
        yield
    except (httpx2.TransportError, httpx2.StreamError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ConnectionLost(
            f"{request.url.host}: {said}", is_hopeless=_HOPELESS in said
        ) from error
