"""Notifications by mail, handed to one mail server over SMTP.

The connection is encrypted and the server's certificate verified before anything is said that
matters; a server that offers no STARTTLS is refused and not spoken to in the clear. Only ``security
= "none"`` sends without encryption, and logs in only to this very machine.
"""

from collections.abc import Sequence

from backapp_core.plugin_api import Notifier, NotifierKind, Surroundings, hookimpl
from backapp_plugins.notifiers.email.settings import EmailSettings


def open_email(settings: EmailSettings, surroundings: Surroundings) -> Notifier:
    """Make the notifier; connects to nothing and reads no file yet."""
    del surroundings
    # The mail modules of the standard library take 20 ms to import, which every command would pay.
    from backapp_plugins.notifiers.email.smtp import EmailNotifier

    return EmailNotifier(settings)


@hookimpl
def backapp_notifiers() -> Sequence[NotifierKind]:
    """Offer mail."""
    return (NotifierKind(name="email", settings=EmailSettings, open=open_email),)
