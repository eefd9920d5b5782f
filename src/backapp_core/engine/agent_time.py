"""The server's time, as far as this machine can know it."""

import threading
from datetime import datetime, timedelta
from typing import final

from backapp_core.clock import Clock


@final
class ServerTime:
    """Goes by what the server said last and by the clock that never jumps; for any thread.

    What an agent tells of moments is in this time, so that a clock that is wrong by a day is no
    matter. Backups go by the machine's own clock, to which the times of its files belong.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._learned: tuple[datetime, float] | None = None

    def learn(self, now: datetime) -> timedelta:
        """Take over the server's time; return by how much this machine's clock is ahead of it."""
        with self._lock:
            self._learned = (now, self._clock.monotonic_seconds())
        return self._clock.now() - now

    def now(self) -> datetime:
        """Return the server's time; this machine's while nothing is known of it."""
        with self._lock:
            learned = self._learned
        if learned is None:
            return self._clock.now()
        moment, at = learned
        return moment + timedelta(seconds=self._clock.monotonic_seconds() - at)
