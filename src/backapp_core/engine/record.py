"""Writes what happens during a run into the store, in batches."""

import threading
from datetime import datetime

from backapp_core.clock import Clock
from backapp_core.events import Event, FileDone, Level, LogLine, Progress
from backapp_core.ports.stores import Runs

_BATCH_EVENTS = 200
_BATCH_SECONDS = 2.0
_MOST_EVENTS = 10_000


class EventRecorder:
    """A sink that keeps everything but progress and single files; may be called from any thread.

    A store that fails for a moment loses nothing: what could not be written is tried again with the
    next batch. Beyond 10,000 events of one run the rest is only counted.
    """

    def __init__(self, runs: Runs, run_id: str, clock: Clock) -> None:
        self._runs = runs
        self._run_id = run_id
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[tuple[datetime, Event]] = []
        self._taken = 0
        self._flushed_at = clock.monotonic_seconds()

    def __call__(self, event: Event) -> None:
        """Keep ``event``, and write what is waiting if it is much or has waited long."""
        if isinstance(event, Progress | FileDone):
            return
        with self._lock:
            self._taken += 1
            if self._taken <= _MOST_EVENTS:
                self._waiting.append((self._clock.now(), event))
            is_late = self._clock.monotonic_seconds() - self._flushed_at >= _BATCH_SECONDS
            if self._waiting and (is_late or len(self._waiting) % _BATCH_EVENTS == 0):
                try:
                    self._write()
                except Exception:  # noqa: BLE001  # a sink must not raise; the final flush does
                    self._flushed_at = self._clock.monotonic_seconds()

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            StoreError: If the store fails.
        """
        with self._lock:
            if self._taken > _MOST_EVENTS:
                text = f"{self._taken - _MOST_EVENTS:,} more events were not recorded"
                self._waiting.append((self._clock.now(), LogLine(Level.WARNING, text)))
                self._taken = _MOST_EVENTS
            if self._waiting:
                self._write()

    def _write(self) -> None:
        self._runs.add_events(self._run_id, self._waiting)
        self._waiting = []
        self._flushed_at = self._clock.monotonic_seconds()
