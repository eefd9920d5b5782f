"""For how long what is signed may be good: no longer than the run that it is for is held."""

from collections.abc import Callable, Iterable

from attrs import frozen

from backapp_core.clock import Clock
from backapp_core.engine.grant_rules import NamedObject, about
from backapp_core.errors import GrantRefused, LeaseLost
from backapp_core.model.grants import ObjectSort
from backapp_core.model.work import Hold, Holding

_SHORTEST_SECONDS = 1
"""What is signed is good for whole seconds."""


@frozen
class Term:
    """How long something may be good for."""

    most_seconds: int
    clock: Clock
    ends_at: float | None = None
    """When the run is held no longer, in monotonic seconds; None outside of runs."""

    def seconds_for(self, sort: ObjectSort) -> int:
        """Return how long a request about an object may be good for, if it is signed now.

        What makes a backup count is dead before anybody else can take the run over. All else may
        outlive the run's lease by less than a second: it is in nobody's way, and is in no snapshot.

        Raises:
            LeaseLost: If that is no whole second for a snapshot, or nothing for all else.
        """
        if self.ends_at is None:
            return self.most_seconds
        left = self.ends_at - self.clock.monotonic_seconds()
        if left <= 0:  # the store was asked for more since it said how long, and took its time
            raise LeaseLost("the run was held no longer when its requests were to be signed")
        if left < _SHORTEST_SECONDS and sort is ObjectSort.SNAPSHOT:
            raise LeaseLost("the run is not held long enough for a snapshot to be stored")
        return max(_SHORTEST_SECONDS, min(int(left), self.most_seconds))


def term_of(
    hold: Hold | None,
    objects: Iterable[NamedObject],
    *,
    repository_id: str,
    holding: Callable[[Hold], Holding],
    clock: Clock,
    most_seconds: int,
) -> Term:
    """Return how long changes may be good for that are wanted under ``hold``, if they may be.

    Outside of runs only locks come and go: who looks into a repository holds one, and publishes
    nothing.

    Raises:
        GrantRefused: If something else is wanted outside of runs, or of another repository than
            the run's.
        LeaseLost: If the run is not held.
        RunNotFound: If it is none of the machine's.
    """
    if hold is None:
        for one in objects:
            if one.sort is not ObjectSort.LOCK:
                raise GrantRefused(about(one.name, "is written by runs only, and none was named"))
        return Term(most_seconds, clock)
    asked_at = clock.monotonic_seconds()  # before: what is left is counted from no later
    held = holding(hold)
    if held.repository_id != repository_id:
        raise GrantRefused(f"run {hold.run_id[:8]} is about another repository")
    return Term(most_seconds, clock, asked_at + held.left_seconds)
