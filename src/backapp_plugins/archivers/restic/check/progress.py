"""Tells how far a check has come, a few times a second."""

from typing import Final, final

from backapp_core.plugin_api import Progress, Surroundings, Verb

_EVERY_SECONDS: Final = 0.25


@final
class CheckProgress:
    """Counts what was looked at; used by one thread at a time."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._said_at = surroundings.clock.monotonic_seconds()
        self.files = 0
        """Files in the trees that were looked at."""
        self.read_bytes = 0
        """What was read of packs."""
        self.total_bytes: int | None = None
        """What is to be read of packs, once that is known."""

    def tell(self) -> None:
        """Say how far it is, unless that was said just now."""
        now = self._surroundings.clock.monotonic_seconds()
        if now - self._said_at >= _EVERY_SECONDS:
            self._said_at = now
            self.end()

    def end(self) -> None:
        """Say how far it is."""
        self._surroundings.events(
            Progress(
                Verb.CHECK,
                files_done=self.files,
                bytes_done=self.read_bytes,
                bytes_total=self.total_bytes,
            )
        )
