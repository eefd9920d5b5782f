"""One signed request to one address."""

import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any, final
from urllib.parse import urlsplit

from typing_extensions import override

from backapp_core.plugin_api import (
    Clock,
    DeliveryError,
    InputError,
    Notification,
    Notifier,
    read_secret_file,
    to_line,
)
from backapp_plugins.notifiers.webhook.settings import WebhookSettings

_LONGEST_ANSWER_BYTES = 64 * 1024
_SUCCESS, _REDIRECT, _SERVER_FAULT = 2, 3, 5  # first digits of a status
_RETRYABLE_STATUSES = frozenset({408, 429})


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
        family = status // 100
        if family != _SUCCESS:
            hint = " (redirects are not followed)" if family == _REDIRECT else ""
            raise DeliveryError(
                f"{self._place} answered {status}{hint}",
                is_retryable=status in _RETRYABLE_STATUSES or family >= _SERVER_FAULT,
            )

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        connection = self._connection()
        target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        try:
            connection.connect()
            with _time_limit(connection.sock, self._settings.timeout_seconds):
                connection.request("POST", target, body=body, headers=headers)
                answer = connection.getresponse()
                # The status decides. The rest is read so that the receiver can finish, but never
                # more than a sane one says.
                with suppress(http.client.HTTPException, OSError):
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
            raise DeliveryError(
                f"ca_file {to_line(self._settings.ca_file)} cannot be used: {reason}"
            ) from error
        return http.client.HTTPSConnection(
            host, self._parts.port, timeout=timeout_seconds, context=trust
        )

    def _translated(self, error: Exception) -> DeliveryError:
        match error:
            case ssl.SSLCertVerificationError():
                return DeliveryError(
                    f"the certificate of {self._place} is not trusted: "
                    + error.verify_message.rstrip(".")
                )
            case OSError():
                reason = to_line(error.strerror or str(error)) or "the connection ended"
                return DeliveryError(
                    f"{self._place} cannot be reached: {reason}", is_retryable=True
                )
            case http.client.HTTPException():
                return DeliveryError(f"{self._place} gave no HTTP answer", is_retryable=True)
            case _:
                return DeliveryError(f"{self._place} cannot be used: the host name is not valid")


def body_of(notification: Notification) -> bytes:
    """Return the body: one JSON object in ASCII, printable but for the line ends of ``text``."""
    content: dict[str, Any] = {
        "id": to_line(notification.id),
        "subject": to_line(notification.subject),
        "text": "\n".join(
            to_line(line)
            for line in notification.text.replace("\r\n", "\n").expandtabs().split("\n")
        ),
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
def _time_limit(connection: socket.socket, seconds: float) -> Generator[None, None, None]:
    """Cut ``connection`` after ``seconds``; the socket's own timeout starts anew with every byte.

    Raises:
        TimeoutError: If what was done within failed and the time was over.
        OSError: As it came from within.
        HTTPException: As it came from within.
        ValueError: As it came from within.
    """
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
