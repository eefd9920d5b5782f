"""A store that forgets when its process ends; passes `store_contract` and serves as a fake."""

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import final

from typing_extensions import override

from backapp_core.errors import IllegalTransition, InvalidName, JobNotFound, NameTaken, RunNotFound
from backapp_core.events import Event
from backapp_core.model.jobs import Job, check_job_name
from backapp_core.model.names import to_line
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.stores import Jobs, RunFilter, Runs, Store


@final
class MemoryJobs(Jobs):
    """Jobs in a dictionary."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    @override
    def add(self, job: Job) -> None:
        with self._lock:
            if job.name in self._jobs:
                raise NameTaken(f"a job called '{job.name}' exists already")
            self._jobs[job.name] = job

    @override
    def get(self, name: str) -> Job:
        with self._lock:
            return self._find(name)

    @override
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[Job]:
        with self._lock:
            names = sorted(name for name in self._jobs if name > after)
            return [self._jobs[name] for name in names[: None if limit is None else max(limit, 0)]]

    @override
    def replace(self, job: Job) -> None:
        with self._lock:
            self._find(job.name)
            self._jobs[job.name] = job

    @override
    def remove(self, name: str) -> None:
        with self._lock:
            self._find(name)
            del self._jobs[name]

    def _find(self, name: str) -> Job:
        try:
            return self._jobs[name]
        except KeyError:
            raise JobNotFound(f"there is no job called '{to_line(name[:64])}'") from None


@final
class MemoryRuns(Runs):
    """Runs in a dictionary."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._events: dict[str, list[tuple[datetime, Event]]] = {}
        self._lock = threading.Lock()

    @override
    def add(self, run: Run) -> None:
        check_job_name(run.job_name)
        if not run.id or not run.id.isascii() or not run.id.isprintable():
            raise InvalidName(f"'{to_line(run.id[:64])}' cannot be the id of a run")
        with self._lock:
            if run.id in self._runs:
                raise NameTaken(f"run {run.id} exists already")
            due = {(other.job_name, other.due_at) for other in self._runs.values() if other.due_at}
            if (run.job_name, run.due_at) in due:
                raise NameTaken(f"job '{run.job_name}' has a run for {run.due_at} already")
            self._runs[run.id] = run
            self._events[run.id] = []

    @override
    def move(self, run: Run, *, from_state: RunState) -> None:
        with self._lock:
            stored = self._find(run.id)
            if stored.state is not from_state or not from_state.may_become(run.state):
                raise IllegalTransition(
                    f"run {run.id[:8]} is {stored.state} and cannot become {run.state}"
                )
            if _asked(run) != _asked(stored):
                raise IllegalTransition(
                    f"run {run.id[:8]} keeps its job, request time and due moment"
                )
            self._runs[run.id] = run

    @override
    def get(self, run_id: str) -> Run:
        with self._lock:
            if run_id in self._runs:
                return self._runs[run_id]
            found = [run for run in self._runs.values() if run_id and run.id.startswith(run_id)]
        if len(found) != 1:
            raise RunNotFound(
                f"there are {len(found)} runs that begin with '{to_line(run_id[:64])}'"
            )
        return found[0]

    @override
    def list(self, run_filter: RunFilter) -> Sequence[Run]:
        with self._lock:
            last = (
                None if run_filter.before_id is None else _order(self._find(run_filter.before_id))
            )
            runs = sorted(self._runs.values(), key=_order, reverse=True)
        matching = [
            run
            for run in runs
            if run_filter.job_name in {None, run.job_name}
            and run_filter.state in {None, run.state}
            and run_filter.agent_id in {None, run.agent_id}
            and (run_filter.since is None or run.requested_at >= run_filter.since)
            and (run_filter.until is None or run.requested_at < run_filter.until)
            and (last is None or _order(run) < last)
        ]
        return matching[: max(run_filter.limit, 0)]

    @override
    def add_events(self, run_id: str, events: Sequence[tuple[datetime, Event]]) -> None:
        with self._lock:
            self._find(run_id)
            self._events[run_id].extend(events)

    @override
    def events(self, run_id: str) -> Sequence[tuple[datetime, Event]]:
        with self._lock:
            self._find(run_id)
            return tuple(self._events[run_id])

    def _find(self, run_id: str) -> Run:
        try:
            return self._runs[run_id]
        except KeyError:
            raise RunNotFound(f"there is no run '{to_line(run_id[:64])}'") from None


@final
class MemoryStore(Store):
    """Jobs and runs of one process; thread-safe."""

    def __init__(self) -> None:
        self.jobs = MemoryJobs()
        self.runs = MemoryRuns()

    @override
    def close(self) -> None:
        """Keep everything: there is nothing to give back."""


def _asked(run: Run) -> tuple[str, datetime, datetime | None]:
    return run.job_name, run.requested_at, run.due_at


def _order(run: Run) -> tuple[datetime, str]:
    return run.requested_at, run.id
