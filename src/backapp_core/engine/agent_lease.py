"""Holds a run for this machine: renewed in time, and given up before others may take it."""

import threading
from typing import final

from backapp_core.clock import Clock
from backapp_core.errors import BackappError, LeaseLost, StoreUnavailable
from backapp_core.model.work import Claim
from backapp_core.ports.surroundings import CancelToken
from backapp_core.ports.work import Work

_PARTS = 3
"""A lease is renewed when so much of it is over."""
_HURRY = 12
"""After a failed renewal the next comes so much sooner, in parts of the lease."""
_OF_LEFT = 2
"""An answer is waited for through so great a part of what is left, so that a server that does not
answer once, or twice, is asked again in time."""
_SHORTEST = 0.01
"""No stretch of time is shorter, in parts of the lease."""
_HELD = 2 / 3
"""A run is given up when so much of its lease went by without a renewal: in the rest, what is under
way comes to an end before somebody else may take the run over."""


@final
class Lease:
    """Renews a claim from a thread of its own while it is entered.

    Time is counted on this machine from before a lease was asked for, by a clock that never jumps,
    so that a run is given up here before its lease ends for the store. When it is lost, or somebody
    wishes the run to stop, the cancel token is set.
    """

    def __init__(
        self, work: Work, claim: Claim, clock: Clock, cancel: CancelToken, *, asked_at: float
    ) -> None:
        """Prepare to hold ``claim``, which was asked for at ``asked_at`` (monotonic seconds)."""
        self._work = work
        self._run_id = claim.run.id
        self._fence = claim.fence
        self._seconds = claim.lease_seconds
        self._clock = clock
        self._cancel = cancel
        self._changed = threading.Condition()
        self._ends_at = asked_at + _HELD * claim.lease_seconds
        self._is_stopped = False
        self._is_lost = False
        self._is_poked = False
        self._threads = [
            threading.Thread(target=target, name=f"backapp-lease-{name}", daemon=True)
            for name, target in (("renew", self._renew), ("watch", self._watch))
        ]

    def __enter__(self) -> "Lease":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def is_lost(self) -> bool:
        """Whether the run is not this process's any more."""
        return self._is_lost

    def check(self) -> None:
        """Return if the run is still held.

        Raises:
            LeaseLost: If it is not.
        """
        if self._is_lost:
            raise LeaseLost(f"run {self._run_id[:8]} is held by this machine no longer")

    def poke(self) -> None:
        """Renew soon: there may be a wish to stop."""
        with self._changed:
            self._is_poked = True
            self._changed.notify_all()

    def lose(self) -> None:
        """Give the run up: the store said that it is somebody else's, or has ended."""
        with self._changed:
            self._is_lost = True
            self._changed.notify_all()
        self._cancel.cancel()

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than the run is held and goes on."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_lost or self._is_stopped or self._cancel.is_cancelled,
                timeout=seconds,
            )

    def _renew(self) -> None:
        pause = self._seconds / _PARTS
        while self._goes_on(pause):
            asked_at = self._clock.monotonic_seconds()
            try:
                renewal = self._work.renew(
                    self._run_id,
                    self._fence,
                    lease_seconds=self._seconds,
                    within_seconds=self._part_of_left(asked_at, self._seconds),
                )
            except StoreUnavailable:
                now = self._clock.monotonic_seconds()
                pause = self._part_of_left(now, self._seconds / _HURRY)
                continue
            except BackappError:
                self.lose()
                return
            pause = self._seconds / _PARTS
            with self._changed:
                self._ends_at = asked_at + _HELD * self._seconds
                self._changed.notify_all()
            if renewal.is_cancel_wished:
                self._cancel.cancel()

    def _part_of_left(self, now: float, most_seconds: float) -> float:
        """Return a stretch of time that leaves some of what is left before the run is given up."""
        part = (self._ends_at - now) / _OF_LEFT
        return max(min(part, most_seconds), _SHORTEST * self._seconds)

    def _watch(self) -> None:
        with self._changed:
            while not self._is_over():
                left = self._ends_at - self._clock.monotonic_seconds()
                if left <= 0:
                    self._is_lost = True
                    break
                self._changed.wait(left)
        if self._is_lost:
            self.lose()

    def _goes_on(self, pause: float) -> bool:
        """Wait until it is time to renew, and say whether there still is something to renew."""
        with self._changed:
            self._changed.wait_for(self._is_due_early, timeout=pause)
            self._is_poked = False
            return not self._is_over()

    def _is_due_early(self) -> bool:
        return self._is_poked or self._is_over()

    def _is_over(self) -> bool:
        return self._is_stopped or self._is_lost
