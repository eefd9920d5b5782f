"""Notifications as signed HTTP requests to one address.

The request is a ``POST`` with a JSON object as its body and these headers:

``X-BackApp-Id``
    The notification's id, printable ASCII; a receiver that sees it twice may drop the second.
``X-BackApp-Timestamp``
    Seconds since 1970 when this request was made; a receiver should refuse what is older than a few minutes.
``X-BackApp-Signature``
    ``v1=`` and the HMAC-SHA256, in lower-case hex digits, of the timestamp, a full stop, and the body's bytes, keyed with
    the secret's UTF-8 bytes.

A receiver verifies, before it parses anything, on the bytes as they came (``headers`` and ``body``)::

    signed = headers["X-BackApp-Timestamp"].encode() + b"." + body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    is_genuine = hmac.compare_digest(expected, headers["X-BackApp-Signature"])

Any 2xx answer means delivered. Redirects are not followed: the address is where the user wanted it.
"""

import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any, final
from urllib.parse import urlsplit

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import (
    Clock,
    DeliveryError,
    InputError,
    InvalidSettings,
    Notification,
    Notifier,
    NotifierKind,
    Surroundings,
    hookimpl,
    read_secret_file,
    to_line,
)

_LONGEST_TIMEOUT_SECONDS = 600
_LONGEST_ANSWER_BYTES = 64 * 1024
_RETRYABLE_STATUSES = frozenset({408, 429})


@frozen
class WebhookSettings:
    """Who is told, and how the receiver knows that we said it."""

    url: str
    """``https://`` or ``http://``; without user name and password."""
    secret_file: str
    """Path of a file with the shared secret on one line, readable by its owner only."""
    timeout_seconds: float = 30
    """Longest time that one delivery may take, from the connection to the end of the answer."""
    ca_file: str = ""
    """PEM file with the authorities to trust; empty: those of the system."""

    def __attrs_post_init__(self) -> None:
        faults = [("url", reason) for reason in [_fault_of(self.url)] if reason]
        if not self.secret_file:
            faults.append(("secret_file", "name a file"))
        if not 0 < self.timeout_seconds <= _LONGEST_TIMEOUT_SECONDS:
            faults.append(("timeout_seconds", f"must be more than 0 and at most {_LONGEST_TIMEOUT_SECONDS}"))
        if faults:
            raise InvalidSettings("webhook notifier", faults)


def _fault_of(url: str) -> str:
    # The address itself is not repeated: what is wrong about it may be a password in it.
    if not url.isascii() or not url.isprintable() or " " in url:
        return "the address holds a space or another character that has no place in one"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "the address has no valid host or port"
    if parts.scheme not in {"http", "https"}:
        return "the address must begin with https:// or http://"
    if "@" in parts.netloc:
        return "the address must not hold a user name or password"
    if not parts.hostname or port == 0:
        return "the address has no valid host or port"
    return "the address must not have a part after #" if parts.fragment else ""


@final
class WebhookNotifier(Notifier):
    """Posts each notification over a connection of its own."""

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._parts = urlsplit(settings.url)
        self._place = f"webhook {self._parts.scheme}://{self._parts.netloc}{self._parts.path}"

    @override
    def deliver(self, notification: Notification) -> None:
        try:
            secret = read_secret_file(self._settings.secret_file)
        except InputError as error:
            raise DeliveryError(error.message) from error
        body = body_of(notification)
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "backapp",
            "X-BackApp-Id": to_line(notification.id).encode("ascii", "backslashreplace").decode(),
            "X-BackApp-Timestamp": timestamp,
            "X-BackApp-Signature": signature_of(body, secret=secret, timestamp=timestamp),
        }
        try:
            status = self._post(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._translated(error) from error
        if not 200 <= status < 300:
            hint = " (redirects are not followed)" if 300 <= status < 400 else ""
            raise DeliveryError(
                f"{self._place} answered {status}{hint}",
                is_retryable=status in _RETRYABLE_STATUSES or status >= 500,
            )

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        connection = self._connection()
        target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        try:
            connection.connect()
            with _time_limit(connection.sock, self._settings.timeout_seconds):
                connection.request("POST", target, body=body, headers=headers)
                answer = connection.getresponse()
                # Read, so that the sender is not cut off, but never more than a sane receiver has to say.
                with suppress(http.client.IncompleteRead):
                    answer.read(_LONGEST_ANSWER_BYTES)
                return answer.status
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, timeout_seconds = self._parts.hostname or "", self._settings.timeout_seconds
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, self._parts.port, timeout=timeout_seconds)
        try:
            trust = ssl.create_default_context(cafile=self._settings.ca_file or None)
        except OSError as error:
            reason = error.strerror or "it holds no certificate"
            raise DeliveryError(f"ca_file {to_line(self._settings.ca_file)} cannot be used: {reason}") from error
        return http.client.HTTPSConnection(host, self._parts.port, timeout=timeout_seconds, context=trust)

    def _translated(self, error: Exception) -> DeliveryError:
        match error:
            case ssl.SSLCertVerificationError():
                return DeliveryError(f"the certificate of {self._place} is not trusted: {error.verify_message}")
            case OSError():
                reason = to_line(error.strerror or str(error)) or "the connection ended"
                return DeliveryError(f"{self._place} cannot be reached: {reason}", is_retryable=True)
            case http.client.HTTPException():
                return DeliveryError(f"{self._place} gave no HTTP answer", is_retryable=True)
            case _:
                return DeliveryError(f"{self._place} cannot be used: the host name is not valid")


def body_of(notification: Notification) -> bytes:
    """Return the request's body: one JSON object in ASCII, every text of it printable but for line ends in ``text``."""
    content: dict[str, Any] = {
        "id": to_line(notification.id),
        "subject": to_line(notification.subject),
        "text": "\n".join(to_line(line) for line in notification.text.replace("\r\n", "\n").expandtabs().split("\n")),
        "urgency": notification.urgency.value,
        "created_at": notification.created_at.astimezone(UTC).isoformat(),
        "facts": {to_line(name): to_line(value) for name, value in notification.facts},
    }
    return json.dumps(content).encode("ascii")


def signature_of(body: bytes, *, secret: str, timestamp: str) -> str:
    """Return the signature header, as the module's description defines it."""
    signed = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


@contextmanager
def _time_limit(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Cut ``connection`` after ``seconds``: the socket's own timeout starts anew with every byte that drips in."""
    is_over = threading.Event()

    def cut() -> None:
        is_over.set()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        if is_over.is_set():
            raise TimeoutError("timed out") from error
        raise
    finally:
        timer.cancel()


def open_webhook(settings: WebhookSettings, surroundings: Surroundings) -> Notifier:
    """Make the notifier; connects to nothing and reads no file yet."""
    return WebhookNotifier(settings, surroundings.clock)


@hookimpl
def backapp_notifiers() -> Sequence[NotifierKind]:
    """Offer signed webhooks."""
    return (NotifierKind(name="webhook", settings=WebhookSettings, open=open_webhook),)
