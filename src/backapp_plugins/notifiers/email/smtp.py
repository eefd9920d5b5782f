"""One message to one mail server."""

import hashlib
import re
import smtplib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import final

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import (
    DeliveryError,
    InputError,
    Notification,
    Notifier,
    read_secret_file,
    to_line,
)
from backapp_plugins.notifiers.email.settings import PORTS, EmailSettings, Security, is_loopback

_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TEMPORARY = 4  # first digit of an SMTP answer
_LONGEST_SUBJECT = 250
_LONGEST_ANSWER = 200


@final
@frozen
class EmailNotifier(Notifier):
    """Sends each notification as one message, over a connection of its own."""

    _settings: EmailSettings

    @override
    def deliver(self, notification: Notification) -> None:
        settings = self._settings
        password = _password_of(settings)
        message = compose(notification, settings)
        try:
            server = self._connect()
            try:
                self._protect(server)
                self._log_in(server, password)
                refused = server.send_message(message, settings.sender, settings.recipients)
                # The server has taken the message; how it says good-bye changes nothing about that.
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()
            finally:
                server.close()
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise self._translated(error) from error
        if refused:
            raise DeliveryError(
                f"{self._place} refused {_named(refused)} and accepted the other recipients"
            )

    @property
    def _place(self) -> str:
        return f"mail server {self._settings.host}:{self._port}"

    @property
    def _port(self) -> int:
        return self._settings.port or PORTS[self._settings.security]

    def _connect(self) -> smtplib.SMTP:
        host, timeout_seconds = self._settings.host, self._settings.timeout_seconds
        if self._settings.security is Security.TLS:
            return smtplib.SMTP_SSL(
                host, self._port, timeout=timeout_seconds, context=self._trust()
            )
        return smtplib.SMTP(host, self._port, timeout=timeout_seconds)

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._settings.ca_file or None)
        except OSError as error:
            reason = error.strerror or "it holds no certificate"
            raise DeliveryError(
                f"ca_file {to_line(self._settings.ca_file)} cannot be used: {reason}"
            ) from error

    def _protect(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._settings.security is not Security.STARTTLS:
            return
        if not server.has_extn("starttls"):
            raise DeliveryError(
                f"{self._place} offers no STARTTLS, so nothing was sent to it;"
                f" somebody in between may have removed the offer, or it wants security = 'tls'"
            )
        server.starttls(context=self._trust())
        server.ehlo_or_helo_if_needed()

    def _log_in(self, server: smtplib.SMTP, password: str) -> None:
        if not self._settings.username:
            return
        if self._settings.security is Security.NONE and not is_loopback(_peer_of(server)):
            raise DeliveryError(
                f"{self._place} is not this machine; the password is not sent to it in the clear"
            )
        try:
            server.login(self._settings.username, password)
        except smtplib.SMTPResponseException as error:
            # The answer may repeat what was sent, so neither its text nor the error itself is
            # passed on.
            code = error.smtp_code
        else:
            return
        raise DeliveryError(
            f"{self._place} refused the login (answer {code})", is_retryable=_is_temporary(code)
        )

    def _translated(self, error: Exception) -> DeliveryError:
        match error:
            case smtplib.SMTPRecipientsRefused():
                return DeliveryError(
                    f"{self._place} refused {_named(error.recipients)}",
                    is_retryable=all(_is_temporary(code) for code, _ in error.recipients.values()),
                )
            case smtplib.SMTPResponseException():
                text = error.smtp_error
                shown = to_line(text.decode(errors="replace") if isinstance(text, bytes) else text)
                return DeliveryError(
                    f"{self._place} answered {error.smtp_code} {shown[:_LONGEST_ANSWER]}",
                    is_retryable=_is_temporary(error.smtp_code),
                )
            case ssl.SSLCertVerificationError():
                return DeliveryError(
                    f"the certificate of {self._place} is not trusted: "
                    + error.verify_message.rstrip(".")
                )
            case smtplib.SMTPServerDisconnected():
                return DeliveryError(
                    f"{self._place} ended the connection or was too slow", is_retryable=True
                )
            case OSError() if not isinstance(error, smtplib.SMTPException):
                reason = error.strerror or str(error)
                return DeliveryError(
                    f"{self._place} cannot be reached: {to_line(reason)}", is_retryable=True
                )
            case _:
                return DeliveryError(
                    f"{self._place} cannot be used: {to_line(str(error))[:_LONGEST_ANSWER]}"
                )


def compose(notification: Notification, settings: EmailSettings) -> EmailMessage:
    """Return the message; no text of the notification can add a header or line to it."""
    domain = settings.sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.recipients)
    message["Subject"] = to_line(notification.subject)[:_LONGEST_SUBJECT].strip()
    message["Date"] = format_datetime(notification.created_at.astimezone(UTC))
    message["Message-ID"] = f"<{_id_for_mail(notification.id)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-BackApp-Urgency"] = notification.urgency.value
    lines = [
        to_line(line) for line in notification.text.replace("\r\n", "\n").expandtabs().split("\n")
    ]
    if notification.facts:
        lines += ["", *(f"{to_line(name)}: {to_line(value)}" for name, value in notification.facts)]
    message.set_content("\n".join(lines) + "\n")
    return message


def _id_for_mail(identity: str) -> str:
    if _PLAIN_ID.fullmatch(identity):
        return identity
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


def _password_of(settings: EmailSettings) -> str:
    if not settings.username:
        return ""
    try:
        password = read_secret_file(settings.password_file)
    except InputError as error:
        raise DeliveryError(error.message) from error
    if not password.isascii():
        raise DeliveryError(f"the password in {to_line(settings.password_file)} is not ASCII")
    return password


def _peer_of(server: smtplib.SMTP) -> str:
    return str(server.sock.getpeername()[0]) if server.sock else ""


def _is_temporary(code: int) -> bool:
    return code // 100 == _TEMPORARY


def _named(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{address} (answer {code})" for address, (code, _) in sorted(refused.items()))
