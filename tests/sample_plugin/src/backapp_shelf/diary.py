"""A notifier that appends a line to a file."""

from pathlib import Path

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import DeliveryError, Notification, Notifier, Surroundings, to_text


@frozen
class DiarySettings:
    """What a user writes below ``[notifiers.NAME]`` in the settings file."""

    file: str


class Diary(Notifier):
    """One line for each notification."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @override
    def deliver(self, notification: Notification) -> None:
        subject = to_text(notification.subject.encode("utf-8", "surrogateescape"))
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{notification.created_at:%Y-%m-%d %H:%M} {subject}\n")
        except OSError as error:
            # A disk that is full today may have room tomorrow.
            raise DeliveryError(
                f"the diary {self._path} cannot be written: {error.strerror}", is_retryable=True
            ) from error


def open_diary(settings: DiarySettings, surroundings: Surroundings) -> Notifier:
    """Make the notifier; nothing is opened yet."""
    del surroundings
    return Diary(Path(settings.file))
