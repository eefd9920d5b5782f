"""Tries again what passes: how often, and how long it waits in between."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from backapp_core.plugin_api import Pauses, StoreUnavailable, Surroundings

_T = TypeVar("_T")
_MOST_FAILURES = 6
_PAUSES = Pauses(first_seconds=0.5, longest_seconds=20.0)
_LONGEST_ASKED_SECONDS = 60.0


class Patience:
    """Waits by the clock and the chance that were handed in; may be used from any thread."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def pauses(self) -> Iterator[float]:
        """Yield how many seconds to wait after each failure; at the end it is one too many."""
        for failures in range(1, _MOST_FAILURES + 1):
            yield _PAUSES.seconds(self._surroundings, failures)

    def wait(self, seconds: float, *, asked_seconds: float = 0.0) -> None:
        """Wait, or for as long as the other end asked if that is longer, up to a minute.

        Raises:
            RunCancelled: If the run is to stop.
        """
        self._surroundings.wait(max(seconds, min(asked_seconds, _LONGEST_ASKED_SECONDS)))

    def ask(self, act: Callable[[], _T]) -> _T:
        """Ask the issuer, again while it does not answer.

        The first time is in any case, so that what was begun can still be cleaned up.

        Raises:
            StoreUnavailable: If it does not answer in the end.
            RunCancelled: If the run is to stop while it waits.
        """
        pauses = self.pauses()
        while True:
            try:
                return act()
            except StoreUnavailable:
                pause_seconds = next(pauses, None)
                if pause_seconds is None:
                    raise
                self.wait(pause_seconds)
