"""Stores remember jobs and runs, in intents that are atomic by themselves and grouped by noun."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from attrs import frozen
from typing_extensions import override

from backapp_core.events import Event
from backapp_core.model.jobs import Job
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.closing import Closing


class Jobs(ABC):
    """Jobs by name. Each method is one transaction."""

    @abstractmethod
    def add(self, job: Job) -> None:
        """Remember a new job.

        Raises:
            NameTaken: If a job of this name exists; it is untouched.
        """

    @abstractmethod
    def get(self, name: str) -> Job:
        """Return a job.

        Raises:
            JobNotFound: If there is none of this name.
        """

    @abstractmethod
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[Job]:
        """Return jobs in order of their names, those after the name ``after``, which may be none.

        None for ``limit`` means all, zero or less gives none.
        """

    @abstractmethod
    def replace(self, job: Job) -> None:
        """Put ``job`` in the place of the job of the same name.

        Raises:
            JobNotFound: If there is none of this name.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Forget a job; its runs stay.

        Raises:
            JobNotFound: If there is none of this name.
        """


@frozen
class RunFilter:
    """Which runs are meant; None matches everything."""

    job_name: str | None = None
    state: RunState | None = None
    agent_id: str | None = None
    since: datetime | None = None
    """Only runs that were requested at this moment or later."""
    until: datetime | None = None
    """Only runs that were requested before this moment."""
    before_id: str | None = None
    """Only runs after this one in the order of `Runs.list` (keyset paging); a whole id."""
    limit: int = 50
    """Zero or less gives none."""


class Runs(ABC):
    """Runs by id. Each method is one transaction; of two competing moves of one run, one wins."""

    @abstractmethod
    def add(self, run: Run) -> None:
        """Remember a new run.

        Raises:
            NameTaken: If a run of this id exists, or one of the same job for the same due moment.
            InvalidName: If its id is empty or no text that can be stored, or its job has no job
                name; only a restore has no job.
        """

    @abstractmethod
    def move(self, run: Run, *, from_state: RunState) -> None:
        """Put ``run`` in the place of the stored one if that still is in ``from_state``.

        Survives a power cut when this returns.

        Raises:
            RunNotFound: If there is none of this id.
            IllegalTransition: If it is in another state by now, the move is not legal, or ``run``
                names another job, request time or due moment than the stored one.
        """

    @abstractmethod
    def get(self, run_id: str) -> Run:
        """Return the run whose id is, or else the one whose id begins with, ``run_id``.

        Raises:
            RunNotFound: If there is none, or several.
        """

    @abstractmethod
    def list(self, run_filter: RunFilter) -> Sequence[Run]:
        """Return matching runs, ``limit`` at most, the latest requested first.

        Ids break ties, also descending.

        Raises:
            RunNotFound: If ``before_id`` is no run.
        """

    @abstractmethod
    def add_events(self, run_id: str, events: Sequence[tuple[datetime, Event]]) -> None:
        """Append to what happened during a run, in one transaction.

        Raises:
            RunNotFound: If there is none of this id.
        """

    @abstractmethod
    def events(self, run_id: str) -> Sequence[tuple[datetime, Event]]:
        """Return what happened during a run, in the order of appending.

        Raises:
            RunNotFound: If there is none of this id.
        """


class Store(Closing):
    """What remembers.

    May be used from any thread and, where the kind allows, by several processes.
    """

    jobs: Jobs
    runs: Runs
    claims_folder: Path | None = None
    """Where the engine puts the locks that let one process at a time run a job; made if need be.

    It is the same one for all that share the store, whatever their state folder. None, for a store
    that only one state folder uses, puts them there.
    """

    @override
    @abstractmethod
    def close(self) -> None:
        """Give connections back; closing twice is fine."""
