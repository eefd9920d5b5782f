"""One request after another to a server: sent, tried again where that is safe, and read."""

import ssl
import threading
from collections.abc import Mapping
from types import NoneType
from typing import Any, TypeVar, cast, final

import httpx2
import msgspec

from backapp_core.plugin_api import (
    BackappError,
    InputError,
    InvalidSettings,
    Pauses,
    RunCancelled,
    StoreUnavailable,
    Surroundings,
    from_plain,
    to_line,
    to_plain,
)
from backapp_core.wire import MOST_BODY_BYTES
from backapp_plugins.stores.remote.problems import error_for
from backapp_plugins.stores.remote.servers import Server

_T = TypeVar("_T")
_BUSY = frozenset({429, 503})
"""The server did nothing and says so."""
_GATEWAY = frozenset({502, 504})
"""Somebody between does not know what the server did."""
_TRIES = 4
_PAUSES = Pauses(first_seconds=0.25, longest_seconds=15.0)
_CONNECT_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 60.0
# Longer than between two questions of an idle machine, and less than what the server keeps it for.
_IDLE_SECONDS = 60.0
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""How OpenSSL calls it; all that is left of its error in those of the library."""
_NUL = b"\\u0000"


@final
class Conversation:
    """The HTTP side of a server; every method may be called from any thread.

    What was certainly not taken up (no connection, 429, 503) is sent again; after any other fault
    only what may be repeated.
    """

    def __init__(self, server: Server, key: str, surroundings: Surroundings) -> None:
        self.server = server
        self._key = key
        self._surroundings = surroundings
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None

    def ask(
        self,
        method: str,
        path: str,
        answer: type[_T],
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
        patience_seconds: float = 30.0,
        tries: int = _TRIES,
    ) -> _T:
        """Send a request and return its answer.

        Args:
            method: ``GET`` or ``POST``.
            path: Of the interface.
            answer: What the answer is; `NoneType` for nothing, or a union with it.
            body: A class of `wire`, or None for no body.
            query: What follows the path.
            is_repeatable: Whether doing it twice is as good as once.
            patience_seconds: How long the server may be silent while it works, or take to be
                reached if that is less than usual.
            tries: How often it is asked at most.

        Raises:
            BackappError: What the server said; `StoreUnavailable` if it did not answer.
            InputError: If the body is larger than a server takes.
        """
        content = encoded(body) if body is not None else b""
        raw = self._send(
            httpx2.Request(
                method,
                self.server.url(path),
                params=dict(query) if query else None,
                content=content or None,
                headers=self._headers(has_body=bool(content)),
                extensions={"timeout": _timeouts(patience_seconds)},
            ),
            is_repeatable=is_repeatable,
            tries=tries,
        )
        return self._understood(raw, answer)

    def close(self) -> None:
        """Give connections back; closing twice is fine."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _headers(self, *, has_body: bool) -> dict[str, str]:
        headers = {"accept": "application/json", "user-agent": "backapp-agent"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        if has_body:
            headers["content-type"] = "application/json"
        return headers

    def _send(self, request: httpx2.Request, *, is_repeatable: bool, tries: int) -> bytes:
        failures = 0
        while True:
            failures += 1
            wished = 0.0
            try:
                status, raw, wished = self._once(request)
                if status < httpx2.codes.MULTIPLE_CHOICES:
                    return raw
                error = error_for(self.server.origin, status, raw)
                may_again = status in _BUSY or (is_repeatable and status in _GATEWAY)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as fault:
                error, may_again = self._unreachable(fault), True
            except (httpx2.TransportError, httpx2.StreamError) as fault:
                error, may_again = self._unreachable(fault), is_repeatable
            if not may_again or failures >= tries:
                raise error
            pause = _PAUSES.seconds(self._surroundings, failures)
            try:
                self._surroundings.wait(max(pause, wished))
            except RunCancelled:
                raise error from None

    def _once(self, request: httpx2.Request) -> tuple[int, bytes, float]:
        """Return status, body, and for how many seconds the server wants to be left alone.

        Raises:
            StoreUnavailable: If it answers with more than anybody asked for.
        """
        response = self._connected().send(request, stream=True)
        try:
            parts: list[bytes] = []
            size = 0
            for part in response.iter_bytes():
                size += len(part)
                if size > MOST_BODY_BYTES:
                    raise StoreUnavailable(
                        f"{self.server.origin} answered with more than {MOST_BODY_BYTES} bytes"
                    )
                parts.append(part)
            return response.status_code, b"".join(parts), _wished(response.headers)
        finally:
            response.close()

    def _connected(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx2.Client(
                    verify=ssl.create_default_context(),
                    follow_redirects=False,
                    limits=httpx2.Limits(keepalive_expiry=_IDLE_SECONDS),
                )
            return self._client

    def _unreachable(self, fault: Exception) -> BackappError:
        reason = to_line(" ".join(str(fault).split())) or type(fault).__name__
        if _UNTRUSTED in reason:
            reason += "; have this machine trust its authority, or name a file in SSL_CERT_FILE"
        return StoreUnavailable(f"{self.server.origin} cannot be reached: {reason}")

    def _understood(self, raw: bytes, answer: type[_T]) -> _T:
        try:
            plain = msgspec.json.decode(raw) if raw else None
            if answer is NoneType:
                return cast("_T", None)
            return from_plain(plain, answer, source=f"what {self.server.origin} answered")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StoreUnavailable(
                f"{self.server.origin} answered with something that is no JSON; "
                "is it a BackApp server?"
            ) from error
        except InvalidSettings as error:
            raise StoreUnavailable(error.message) from error


def encoded(body: object) -> bytes:
    """Return a class of `wire` as JSON.

    Raises:
        InputError: If it is larger than a server takes.
    """
    plain = to_plain(body)
    try:
        content = msgspec.json.encode(plain)
    except UnicodeEncodeError:
        content = b""
    if not content or _NUL in content:
        content = msgspec.json.encode(_encodable(plain))
    if len(content) > MOST_BODY_BYTES:
        raise InputError(
            f"what is to be sent is larger than the {MOST_BODY_BYTES} bytes that a server takes"
        )
    return content


def _encodable(plain: Any) -> Any:
    """Return plain data whose texts servers take: no Unicode, and NUL, are written as escapes."""
    if isinstance(plain, str):
        return plain.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if isinstance(plain, dict):
        items = cast("dict[str, Any]", plain).items()
        return {_encodable(key): _encodable(value) for key, value in items}
    if isinstance(plain, list | tuple):
        return [_encodable(value) for value in cast("list[Any]", plain)]
    return plain


def _timeouts(patience_seconds: float) -> dict[str, float]:
    connect_seconds = min(_CONNECT_SECONDS, patience_seconds)
    return {
        "connect": connect_seconds,
        "pool": connect_seconds,
        "read": patience_seconds,
        "write": patience_seconds,
    }


def _wished(headers: Any) -> float:
    try:
        seconds = float(headers.get("retry-after", "0"))
    except ValueError:
        return 0.0  # a date: what is waited anyhow has to do
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)
