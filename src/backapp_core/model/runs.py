"""One execution of a job, or a restore: its states, the legal moves between them, and how it ended.

::

    requested -> running -> completed | failed | cancelled
    requested -> cancelled

A run moves by new values; the store decides which of two competing moves happened.
"""

from datetime import datetime
from enum import StrEnum

from attrs import evolve, frozen

from backapp_core.errors import IllegalTransition
from backapp_core.model.snapshots import Counts


class RunState(StrEnum):
    """Where a run stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether no further move is legal."""
        return self in {RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED}

    def may_become(self, state: "RunState") -> bool:
        """Say whether a run in this state may move to ``state``; staying is no move."""
        return state in _LEGAL.get(self, set())


class RunKind(StrEnum):
    """What a run does."""

    BACKUP = "backup"
    RESTORE = "restore"


@frozen
class RestoreOrder:
    """What a run brings back, and whereto on the machine that runs it."""

    repository_id: str
    """Of the managed repository that holds the snapshot."""
    snapshot_id: str
    target: bytes
    """Absolute path of a folder."""
    paths: tuple[bytes, ...] = ()
    """Only these, with everything below them; empty: all of the snapshot."""


_LEGAL = {
    RunState.REQUESTED: {RunState.RUNNING, RunState.CANCELLED},
    RunState.RUNNING: {RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED},
}


@frozen
class Run:
    """One execution of a job, or a restore."""

    id: str
    """32 hex digits."""
    job_name: str
    """Empty for a restore, which is of a repository, whichever jobs fill that."""
    state: RunState
    requested_at: datetime
    due_at: datetime | None = None
    """The scheduled moment it answers to, None if somebody asked for it."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    snapshot_id: str | None = None
    counts: Counts | None = None
    error: str = ""
    """One sentence that says why it failed, or why it never began; empty otherwise."""
    kind: RunKind = RunKind.BACKUP
    restore: RestoreOrder | None = None
    """What is to be restored, for a run of that kind."""
    agent_id: str = ""
    """The machine that runs it; empty where the store's own machine does."""
    cancel_wished_at: datetime | None = None
    """When somebody asked a running one to stop."""

    @property
    def has_warnings(self) -> bool:
        """Whether it completed although some entries could not be read."""
        return (
            self.state is RunState.COMPLETED
            and self.counts is not None
            and self.counts.problems > 0
        )

    def start(self, *, at: datetime) -> "Run":
        """Return the run as running.

        Raises:
            IllegalTransition: If it is not merely requested.
        """
        return evolve(self._moved(RunState.RUNNING), started_at=at)

    def complete(self, *, at: datetime, snapshot_id: str, counts: Counts) -> "Run":
        """Return the run as completed with what it left behind.

        Raises:
            IllegalTransition: If it is not running.
        """
        return evolve(
            self._moved(RunState.COMPLETED), ended_at=at, snapshot_id=snapshot_id, counts=counts
        )

    def fail(self, *, at: datetime, error: str) -> "Run":
        """Return the run as failed for the reason ``error``.

        Raises:
            IllegalTransition: If it is not running.
        """
        return evolve(self._moved(RunState.FAILED), ended_at=at, error=error)

    def cancel(self, *, at: datetime) -> "Run":
        """Return the run as cancelled.

        Raises:
            IllegalTransition: If it has ended.
        """
        return evolve(self._moved(RunState.CANCELLED), ended_at=at)

    def _moved(self, state: RunState) -> "Run":
        if not self.state.may_become(state):
            raise IllegalTransition(f"run {self.id[:8]} is {self.state} and cannot become {state}")
        return evolve(self, state=state)
