"""Tells how far a check has come, a few times a second."""

import threading
from typing import Final, final

from backapp_core.plugin_api import Progress, Surroundings, Verb

_EVERY_SECONDS: Final = 0.25


@final
class CheckProgress:
    """Counts what was looked at; each count is one thread's, and any thread may tell."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._said_at = surroundings.clock.monotonic_seconds()
        self._telling = threading.Lock()
        self.files = 0
        """Files in the trees that were looked at."""
        self.read_bytes = 0
        """What was read of packs."""
        self.total_bytes: int | None = None
        """What is to be read of packs, once that is known."""

    def tell(self) -> None:
        """Say how far it is, unless that was said just now."""
        with self._telling:
            now = self._surroundings.clock.monotonic_seconds()
            if now - self._said_at >= _EVERY_SECONDS:
                self._said_at = now
                self._say()

    def end(self) -> None:
        """Say how far it is."""
        with self._telling:
            self._say()

    def _say(self) -> None:
        self._surroundings.events(
            Progress(
                Verb.CHECK,
                files_done=self.files,
                bytes_done=self.read_bytes,
                bytes_total=self.total_bytes,
            )
        )
