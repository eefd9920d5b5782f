"""Tells the server what happens during a run: events in batches, of progress only the latest."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import final

from backapp_core.errors import (
    AccessError,
    BackappError,
    ConflictError,
    MissingError,
    StoreUnavailable,
)
from backapp_core.events import Event, FileDone, Level, LogLine, Progress

_BATCH_EVENTS = 100
_MOST_EVENTS = 10_000
"""Of one run; the rest is only counted."""

Send = Callable[[list[tuple[datetime, Event]], Progress | None], None]
"""Hands events and progress over to the store."""


@final
class RunReporter:
    """A sink that keeps events and sends them from a thread of its own while it is entered.

    Called from any thread, it never waits for the server. What could not be sent is sent later, in
    order; after a lost answer a batch may arrive twice.
    """

    def __init__(self, send: Send, now: Callable[[], datetime], *, every_seconds: float) -> None:
        """Send with ``send``, every so many seconds at most; ``now`` is the server's time."""
        self._send = send
        self._now = now
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: list[tuple[datetime, Event]] = []
        self._progress: Progress | None = None
        self._taken = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backapp-report", daemon=True)

    def __call__(self, event: Event) -> None:
        """Keep ``event`` until it is sent."""
        if isinstance(event, FileDone):
            return
        with self._lock:
            if isinstance(event, Progress):
                self._progress = event
                return
            self._taken += 1
            if self._taken <= _MOST_EVENTS:
                self._waiting.append((self._now(), event))

    def __enter__(self) -> "RunReporter":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def flush(self) -> None:
        """Send everything that waits.

        Raises:
            BackappError: What the store says.
        """
        with self._lock:
            if self._taken > _MOST_EVENTS:
                text = f"{self._taken - _MOST_EVENTS:,} more events were not recorded"
                self._waiting.append((self._now(), LogLine(Level.WARNING, text)))
                self._taken = _MOST_EVENTS
        while self._send_some():
            pass

    def _run(self) -> None:
        while not self._stopped.wait(self._every_seconds):
            try:
                while self._send_some() and not self._stopped.is_set():
                    pass
            except (ConflictError, MissingError, AccessError):
                return  # the run is not ours any more, which its lease will notice
            except BackappError:
                continue  # later

    def _send_some(self) -> bool:
        """Send a batch and say whether there may be another.

        Raises:
            StoreUnavailable: If the store does not answer; what was to be sent stays.
            BackappError: If it refuses, now and for good.
        """
        with self._sending:
            with self._lock:
                batch, progress = self._waiting[:_BATCH_EVENTS], self._progress
            if not batch and progress is None:
                return False
            try:
                self._send(batch, progress)
            except StoreUnavailable:
                raise
            except BackappError:
                self._forget(len(batch), progress)
                raise
            self._forget(len(batch), progress)
            return True

    def _forget(self, count: int, progress: Progress | None) -> None:
        with self._lock:
            del self._waiting[:count]
            if self._progress is progress:  # and no later one came meanwhile
                self._progress = None
