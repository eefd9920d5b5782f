"""Asks again for what passes: how often, and how long it waits in between."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from backapp_core.plugin_api import Pauses, Surroundings
from backapp_plugins.transports.s3.faults import Refusal, is_passing

_T = TypeVar("_T")
_ATTEMPTS = 7
_PAUSES = Pauses(first_seconds=0.5, longest_seconds=20.0)
_LONGEST_ASKED_SECONDS = 60.0


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
                pause_seconds = next(pauses, None)
                if pause_seconds is None or not is_passing(error):
                    raise
                self.wait(max(pause_seconds, self._asked(error)))

    def pauses(self) -> Iterator[float]:
        """Yield how many seconds to wait after each failure; at the end it is one too many."""
        for failures in range(1, _ATTEMPTS):
            yield _PAUSES.seconds(self._surroundings, failures)

    def wait(self, seconds: float) -> None:
        """Wait.

        Raises:
            RunCancelled: If the run is to stop.
        """
        self._surroundings.wait(seconds)

    @staticmethod
    def _asked(error: Exception) -> float:
        return min(Refusal.of(error).wait_seconds, _LONGEST_ASKED_SECONDS)
