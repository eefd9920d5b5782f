"""Tries again what passes: how often, and how long it waits in between."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from backapp_core.plugin_api import RunCancelled, StoreUnavailable, Surroundings

_T = TypeVar("_T")
_PAUSES = 6
_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 20.0
_LONGEST_ASKED_SECONDS = 60.0
_LOOK_SECONDS = 0.25


class Patience:
    """Waits by the clock and the chance that were handed in; may be used from any thread."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._clock = surroundings.clock
        self._cancel = surroundings.cancel
        self._random_bytes = surroundings.random_bytes

    def pauses(self) -> Iterator[float]:
        """Yield how many seconds to wait after each failure; at the end it is one too many."""
        for failures in range(_PAUSES):
            longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**failures)
            chance = self._random_bytes(1)[0] / 255
            yield longest * (1 + chance) / 2

    def wait(self, seconds: float, *, asked_seconds: float = 0.0) -> None:
        """Wait, or for as long as the other end asked if that is longer, up to a minute.

        Raises:
            RunCancelled: If the run is to stop; that is looked at four times a second.
        """
        left = max(seconds, min(asked_seconds, _LONGEST_ASKED_SECONDS))
        while left > 0:
            if self._cancel.is_cancelled:
                raise RunCancelled("stopped on request")
            self._clock.wait(min(left, _LOOK_SECONDS))
            left -= _LOOK_SECONDS

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
