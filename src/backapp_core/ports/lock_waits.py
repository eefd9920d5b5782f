"""Waits for a lock that others hold, as long as somebody wished."""

from collections.abc import Callable
from typing import TypeVar

from backapp_core.errors import RepositoryLocked
from backapp_core.events import Level, LogLine
from backapp_core.model.quantities import duration
from backapp_core.ports.pauses import Pauses
from backapp_core.ports.surroundings import Surroundings

_T = TypeVar("_T")
_PAUSES = Pauses(first_seconds=1.0, longest_seconds=20.0)
_SAY_EVERY_SECONDS = 60.0


def once_free(surroundings: Surroundings, take: Callable[[], _T]) -> _T:
    """Return what ``take`` returns, asked again while it is refused because of others' locks.

    A warning says at once whose lock is waited for, and again once a minute at most. Between
    attempts nothing is held. The last one is made when `Surroundings.lock_wait_seconds` are over.

    Args:
        surroundings: How long to wait, the clock, chance, listeners, and the wish to stop.
        take: Takes the lock; if it cannot, nothing of it may be left, or several that wait would
            keep one another from it.

    Raises:
        RepositoryLocked: What ``take`` raised at last.
        RunCancelled: If somebody wishes to stop.
    """
    clock = surroundings.clock
    began_at = clock.monotonic_seconds()
    say_at = began_at
    failures = 0
    while True:
        try:
            taken = take()
        except RepositoryLocked as error:
            now = clock.monotonic_seconds()
            left = began_at + surroundings.lock_wait_seconds - now
            if left <= 0:
                raise
            failures += 1
            if now >= say_at:
                say_at = now + _SAY_EVERY_SECONDS
                text = f"waiting for a lock, {duration(left)} at most: {error.message}"
                surroundings.events(LogLine(Level.WARNING, text))
            surroundings.wait(min(left, _PAUSES.seconds(surroundings, failures)))
        else:
            if failures:
                waited = duration(clock.monotonic_seconds() - began_at)
                text = f"the lock is free after {waited}, and taken"
                surroundings.events(LogLine(Level.INFO, text))
            return taken
