"""Asks again for what passes: how often, and how long it waits in between."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from backapp_core.plugin_api import RunCancelled, Surroundings
from backapp_plugins.transports.s3.faults import Refusal, is_passing

_T = TypeVar("_T")
_ATTEMPTS = 7
_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 20.0
_LONGEST_ASKED_SECONDS = 60.0
_SLICE_SECONDS = 0.25


class Patience:
    """Waits by the clock and the chance that were handed in; may be used from any thread."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def call(self, act: Callable[[], _T]) -> _T:
        """Call ``act`` until it returns, at most 7 times and for about a minute.

        What it raises passes through when it does not pass by itself or was the last time.

        Raises:
            RunCancelled: If the run is asked to stop while it waits. The first call is always made,
                so that what was begun can still be cleaned up.
        """
        pauses = self.pauses()
        while True:
            try:
                return act()
            except Exception as error:
                pause_seconds = next(pauses)
                if pause_seconds is None or not is_passing(error):
                    raise
                self.wait(max(pause_seconds, self._asked(error)), because=error)

    def pauses(self) -> Iterator[float | None]:
        """Yield how long to wait after each attempt, growing and with chance in it; None ends."""
        for attempt in range(_ATTEMPTS - 1):
            most = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**attempt)
            chance = int.from_bytes(self._surroundings.random_bytes(2), "big") / 0xFFFF
            yield most * (0.5 + chance / 2)
        yield None

    def wait(self, seconds: float, *, because: BaseException | None = None) -> None:
        """Wait, and look every quarter of a second whether the run is to stop.

        Raises:
            RunCancelled: If it is.
        """
        while seconds > 0:
            if self._surroundings.cancel.is_cancelled:
                raise RunCancelled("stopped on request") from because
            self._surroundings.clock.wait(min(seconds, _SLICE_SECONDS))
            seconds -= _SLICE_SECONDS

    @staticmethod
    def _asked(error: Exception) -> float:
        return min(Refusal.of(error).wait_seconds, _LONGEST_ASKED_SECONDS)
