"""Due jobs become requested runs, each due moment exactly once, whichever server notices."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from backapp_core.engine.tokens import new_id
from backapp_core.errors import InvalidSchedule, NameTaken, UnknownPlugin
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


class Timetable:
    """Requests what is due; remembers what it saw, which only saves work. For one thread."""

    def __init__(self, fleet: Fleet, surroundings: Surroundings, plugins: PluginManager) -> None:
        self._fleet = fleet
        self._surroundings = surroundings
        self._plugins = plugins
        self._seen: dict[tuple[int, str], datetime] = {}
        self._schedulers: dict[Schedule, Scheduler | None] = {}

    def tick(self) -> list[Run]:
        """Request a run for every job whose last due moment is not answered; return these.

        Of several missed moments only the latest counts, and none while an earlier run still waits:
        that one, once it begins, answers all that were missed before.

        Raises:
            StoreUnavailable: If the store does not answer.
        """
        now = self._fleet.now()
        return [
            run
            for tenant in self._fleet.tenants()
            for job in self._fleet.tenant(tenant.id).jobs.list()
            if (run := self._request(self._fleet.tenant(tenant.id), job, now)) is not None
        ]

    def _request(self, store: TenantStore, job: Job, now: datetime) -> Run | None:
        due = self._due(job, now)
        key = (store.tenant.id, job.name)
        if due is None or self._seen.get(key) == due:
            return None
        runs = store.runs.list(RunFilter(job_name=job.name, limit=_LOOKS_BACK))
        if any(one.state is RunState.REQUESTED and one.due_at is not None for one in runs):
            return None
        self._seen[key] = due
        if any(_answers(one, due) for one in runs):
            return None
        run = Run(
            id=new_id(self._surroundings),
            job_name=job.name,
            state=RunState.REQUESTED,
            requested_at=now,
            due_at=due,
            agent_id=job.agent_id,
        )
        with suppress(NameTaken):  # another server was quicker
            store.runs.add(run)
            self._fleet.announce("runs", run.id)
            return run
        return None

    def _due(self, job: Job, now: datetime) -> datetime | None:
        """Return the last due moment that counts, None if there is none."""
        if job.schedule is None or not job.is_enabled or not job.agent_id:
            return None
        scheduler = self._scheduler(job, job.schedule)
        if scheduler is None:
            return None
        due = scheduler.previous_before(now + _INSTANT)
        after = job.due_after or datetime.min.replace(tzinfo=UTC)
        return due if due is not None and due > after else None

    def _scheduler(self, job: Job, schedule: Schedule) -> Scheduler | None:
        if schedule not in self._schedulers:
            try:
                self._schedulers[schedule] = scheduler_of(self._plugins, schedule)
            except (InvalidSchedule, UnknownPlugin) as error:
                # Others go on: it was fine when it was stored, and a plugin is missing by now.
                self._schedulers[schedule] = None
                text = f"job '{job.name}' is never due: {error.message}"
                self._surroundings.events(LogLine(Level.WARNING, text))
        return self._schedulers[schedule]


def _answers(run: Run, due: datetime) -> bool:
    """Say whether a run that a schedule asked for earlier began after ``due``, or is for it."""
    if run.due_at is None:
        return False
    return run.due_at >= due or (run.started_at is not None and run.started_at >= due)
