"""Notifications as signed HTTP requests to one address.

The request is a ``POST`` with a JSON object as its body and these headers:

``X-BackApp-Id``
    The notification's id, printable ASCII; a receiver that sees it twice may drop the second.
``X-BackApp-Timestamp``
    Seconds since 1970 when this request was made; a receiver should refuse what is older than a few
    minutes.
``X-BackApp-Signature``
    ``v1=`` and the HMAC-SHA256, in lower-case hex digits, of the timestamp, a full stop, and the
    body's bytes, keyed with the secret's UTF-8 bytes.

A receiver verifies, before it parses anything, on the bytes as they came (``headers``, ``body``)::

    signed = headers["X-BackApp-Timestamp"].encode() + b"." + body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    is_genuine = hmac.compare_digest(expected, headers["X-BackApp-Signature"])

Any 2xx answer means delivered. Redirects are not followed: the address is where the user wanted it.
"""

from collections.abc import Sequence

from backapp_core.plugin_api import Notifier, NotifierKind, Surroundings, hookimpl
from backapp_plugins.notifiers.webhook.settings import WebhookSettings


def open_webhook(settings: WebhookSettings, surroundings: Surroundings) -> Notifier:
    """Make the notifier; connects to nothing and reads no file yet."""
    # The HTTP and TLS modules of the standard library take 20 ms to import, which every command
    # would pay.
    from backapp_plugins.notifiers.webhook.post import WebhookNotifier

    return WebhookNotifier(settings, surroundings.clock)


@hookimpl
def backapp_notifiers() -> Sequence[NotifierKind]:
    """Offer signed webhooks."""
    return (NotifierKind(name="webhook", settings=WebhookSettings, open=open_webhook),)
