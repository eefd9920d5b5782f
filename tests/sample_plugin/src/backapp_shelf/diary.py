"""A notifier that appends notifications to a file."""

import threading
from pathlib import Path

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import DeliveryError, Notification, Notifier, Surroundings, to_line


@frozen
class DiarySettings:
    """What a user writes below ``[notifiers.NAME]`` in the settings file."""

    file: str


class Diary(Notifier):
    """A paragraph for each notification: when, which and what; then its text; then its facts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # paragraphs of several threads stay apart

    @override
    def deliver(self, notification: Notification) -> None:
        try:
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(paragraph(notification))
        except OSError as error:
            # A disk that is full today may have room tomorrow; a folder never becomes a file.
            raise DeliveryError(
                f"the diary {to_line(str(self._path))} cannot be written: {error.strerror}",
                is_retryable=not isinstance(error, IsADirectoryError),
            ) from error


def paragraph(notification: Notification) -> str:
    """Return what the diary says; indented lines belong to the line above that is not.

    Names and texts come from elsewhere: `to_line` writes out whatever would begin a line of its
    own or give orders to a terminal.
    """
    at, identity = f"{notification.created_at:%Y-%m-%d %H:%M}", to_line(notification.id)
    lines = [f"{at} [{identity}] {to_line(notification.subject)}"]
    lines += [f"    {to_line(line)}" for line in notification.text.splitlines()]
    lines += [f"  {to_line(name)}: {to_line(value)}" for name, value in notification.facts]
    return "\n".join(lines) + "\n"


def open_diary(settings: DiarySettings, surroundings: Surroundings) -> Notifier:
    """Make the notifier; nothing is opened yet."""
    del surroundings
    return Diary(Path(settings.file))
