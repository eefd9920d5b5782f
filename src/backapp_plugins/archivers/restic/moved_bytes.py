"""Tells how much a prune or a copy has read or moved, a few times a second."""

import threading
from typing import Final, final

from backapp_core.plugin_api import Progress, Surroundings, Verb

_EVERY_SECONDS: Final = 0.25


@final
class MovedBytes:
    """Counts bytes; any thread may add to them."""

    def __init__(self, surroundings: Surroundings, verb: Verb) -> None:
        self._surroundings = surroundings
        self._verb = verb
        self._lock = threading.Lock()
        self._said_at = surroundings.clock.monotonic_seconds()
        self._done = 0
        self._total: int | None = None
        self._current = b""

    def begin(self, total_bytes: int | None = None, *, current: bytes = b"") -> None:
        """Count from nothing again, towards ``total_bytes`` if that is known."""
        with self._lock:
            self._done, self._total, self._current = 0, total_bytes, current

    def add(self, size_bytes: int) -> None:
        """Count some bytes more, and say how far it is unless that was said just now."""
        now = self._surroundings.clock.monotonic_seconds()
        with self._lock:
            self._done += size_bytes
            is_due = now - self._said_at >= _EVERY_SECONDS
            if is_due:
                self._said_at = now
        if is_due:
            self.tell()

    def tell(self) -> None:
        """Say how far it is."""
        with self._lock:
            progress = Progress(
                self._verb,
                files_done=0,
                bytes_done=self._done,
                bytes_total=self._total,
                current=self._current,
            )
        self._surroundings.events(progress)
