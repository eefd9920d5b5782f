"""Due jobs become requested runs, each due moment exactly once, whichever server notices."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from attrs import frozen

from backapp_core.engine.tokens import new_id
from backapp_core.errors import (
    AgentNotFound,
    AgentRevoked,
    InvalidSchedule,
    NameTaken,
    UnknownPlugin,
)
from backapp_core.events import Level, LogLine
from backapp_core.manager import PluginManager
from backapp_core.model.jobs import Job
from backapp_core.model.runs import Run, RunState
from backapp_core.model.schedules import Schedule
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.schedulers import Scheduler
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.tenants import TenantStore

_LOOKS_BACK = 20  # runs of a job that may have been asked for since the last due moment
_INSTANT = timedelta(microseconds=1)


def scheduler_of(plugins: PluginManager, schedule: Schedule) -> Scheduler:
    """Return what knows the due moments of a schedule.

    Raises:
        InvalidSchedule: If it cannot be parsed.
        UnknownPlugin: If its scheduler is not installed.
    """
    return plugins.schedulers.get(schedule.scheduler).parse(schedule.expression, schedule.time_zone)


def next_moments(
    plugins: PluginManager, schedule: Schedule, *, after: datetime, count: int = 5
) -> list[datetime]:
    """Return the next due moments, fewer than ``count`` if there are no more.

    Raises:
        InvalidSchedule: If it cannot be parsed.
        UnknownPlugin: If its scheduler is not installed.
    """
    scheduler = scheduler_of(plugins, schedule)
    moments: list[datetime] = []
    while len(moments) < count:
        moment = scheduler.next_after(moments[-1] if moments else after)
        if moment is None:
            break
        moments.append(moment)
    return moments


@frozen
class _Last:
    """The last due moment of a schedule, as seen at some time."""

    scheduler: Scheduler | None
    """None if there is nothing that knows its due moments."""
    seen_at: datetime
    due: datetime | None = None
    next: datetime | None = None
    """Until then it stays the last one; None means for good."""

    def holds_at(self, now: datetime) -> bool:
        """Say whether nothing became due since; a clock may be put back."""
        return self.seen_at <= now and (self.next is None or now < self.next)


_Key = tuple[int, str]
"""Tenant and job."""


class Timetable:
    """Requests what is due; for one thread.

    It remembers what it saw of jobs that there are, and nothing of others; that only saves work.
    """

    def __init__(self, fleet: Fleet, surroundings: Surroundings, plugins: PluginManager) -> None:
        self._fleet = fleet
        self._surroundings = surroundings
        self._plugins = plugins
        self._seen: dict[_Key, datetime] = {}
        self._last: dict[Schedule, _Last] = {}

    def tick(self) -> list[Run]:
        """Request a run for every job whose last due moment is not answered; return these.

        Of several missed moments only the latest counts, and none while an earlier run still waits:
        that one, once it begins, answers all that were missed before.

        Raises:
            StoreUnavailable: If the store does not answer.
        """
        now = self._fleet.now()
        seen: dict[_Key, datetime] = {}
        last: dict[Schedule, _Last] = {}
        made: list[Run] = []
        for tenant in self._fleet.tenants():
            store = self._fleet.tenant(tenant.id)
            for job in store.jobs.list():
                due = self._due(job, now, last)
                key = (tenant.id, job.name)
                if due is not None and self._seen.get(key) != due:
                    made += self._request(store, job, now, due)
                if key in self._seen:
                    seen[key] = self._seen[key]
        self._seen, self._last = seen, last
        return made

    def _request(self, store: TenantStore, job: Job, now: datetime, due: datetime) -> list[Run]:
        """Return the run that was requested, if it was not answered before."""
        runs = store.runs.list(RunFilter(job_name=job.name, limit=_LOOKS_BACK))
        if any(one.state is RunState.REQUESTED and one.due_at is not None for one in runs):
            return []
        self._seen[store.tenant.id, job.name] = due
        if any(_answers(one, due) for one in runs):
            return []
        run = Run(
            id=new_id(self._surroundings),
            job_name=job.name,
            state=RunState.REQUESTED,
            requested_at=now,
            due_at=due,
            agent_id=job.agent_id,
        )
        # Nobody would ever do it, or another server was quicker.
        with suppress(AgentNotFound, AgentRevoked, NameTaken):
            _check_enrolled(store, job)
            store.runs.add(run)
            self._fleet.announce("runs", run.id)
            return [run]
        return []

    def _due(self, job: Job, now: datetime, last: dict[Schedule, _Last]) -> datetime | None:
        """Return the last due moment that counts, None if there is none; ``last`` remembers it."""
        if job.schedule is None or not job.is_enabled or not job.agent_id:
            return None
        known = last.get(job.schedule) or self._last.get(job.schedule)
        if known is None or not known.holds_at(now):
            scheduler = known.scheduler if known else self._scheduler(job, job.schedule)
            known = _last_of(scheduler, now)
        last[job.schedule] = known
        after = job.due_after or datetime.min.replace(tzinfo=UTC)
        return known.due if known.due is not None and known.due > after else None

    def _scheduler(self, job: Job, schedule: Schedule) -> Scheduler | None:
        try:
            return scheduler_of(self._plugins, schedule)
        except (InvalidSchedule, UnknownPlugin) as error:
            # Others go on: it was fine when it was stored, and a plugin is missing by now.
            text = f"job '{job.name}' is never due: {error.message}"
            self._surroundings.events(LogLine(Level.WARNING, text))
            return None


def _last_of(scheduler: Scheduler | None, now: datetime) -> _Last:
    if scheduler is None:
        return _Last(None, now)
    return _Last(
        scheduler, now, scheduler.previous_before(now + _INSTANT), scheduler.next_after(now)
    )


def _answers(run: Run, due: datetime) -> bool:
    """Say whether a run that a schedule asked for earlier began after ``due``, or is for it."""
    if run.due_at is None:
        return False
    return run.due_at >= due or (run.started_at is not None and run.started_at >= due)


def _check_enrolled(store: TenantStore, job: Job) -> None:
    """Refuse a job whose machine may not work any more.

    Raises:
        AgentNotFound: If there is none.
        AgentRevoked: If its key was taken back.
    """
    if store.agents.get(job.agent_id).revoked_at is not None:
        raise AgentRevoked(f"the key of the machine of job '{job.name}' was taken back")
