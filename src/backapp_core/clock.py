"""Time is handed in: the one place that asks the operating system for it.

Whatever needs the time takes a `Clock`; tests hand in one that they turn by hand, so that years can
pass in seconds.
"""

import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import final

from typing_extensions import override


class Clock(ABC):
    """Tells the time and waits; every method may be called from any thread."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC. It may jump in either direction."""

    @abstractmethod
    def monotonic_seconds(self) -> float:
        """Return seconds since an arbitrary moment; never goes back. For durations."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Return after ``seconds`` have passed on this clock."""


@final
class SystemClock(Clock):
    """The operating system's clock."""

    @override
    def now(self) -> datetime:
        return datetime.now(UTC)

    @override
    def monotonic_seconds(self) -> float:
        return time.monotonic()

    @override
    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
