"""A message to people or programs."""

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen


class Urgency(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"


@frozen
class Notification:
    """One message; whether it arrives is the notifier's business."""

    id: str
    """Unique; a receiver that sees it twice may drop the second."""
    subject: str
    """One line; control characters are escaped by the notifier."""
    text: str
    """The body, plain text."""
    urgency: Urgency
    created_at: datetime
    facts: tuple[tuple[str, str], ...] = field(default=())
    """Names and values for programs: ``job``, ``machine``, ``run``, ``state``, ``snapshot``."""
