"""Notifiers deliver one message, or say why not."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from attrs import frozen

from backapp_core.model.notifications import Notification
from backapp_core.ports.surroundings import Surroundings


class Notifier(ABC):
    """A way to reach people or programs; may be called from any thread, several at a time."""

    @abstractmethod
    def deliver(self, notification: Notification) -> None:
        """Hand the message over; returns when the next hop has accepted it.

        Control characters in the subject and in facts never become structure of the message
        (headers, lines). Tried once; trying again is the caller's business.

        Raises:
            DeliveryError: If it was not accepted; says whether trying again makes sense, and holds
                no secret.
        """


@frozen
class NotifierKind:
    """A sort of notifier that a plugin offers."""

    name: str
    settings: type[Any]
    """An attrs class; secrets in it are given by file or by environment, never written in the
    settings file."""
    open: Callable[[Any, Surroundings], Notifier]
    """Makes a notifier from an instance of `settings`; connects to nothing yet."""
