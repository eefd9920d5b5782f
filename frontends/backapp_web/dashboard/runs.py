"""Pages of runs: which there were, one of them while it goes on and afterwards, stopping it."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from attrs import asdict, frozen
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from backapp_core.engine.configure import repository_id_of
from backapp_core.engine.overview import pace_of
from backapp_core.errors import BackappError, InputError, JobNotFound
from backapp_core.model.runs import Run, RunState
from backapp_core.model.users import Action
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.tenants import TenantStore
from backapp_web.answers import status_of
from backapp_web.callers import Call, caller_of, member_of, server_of, store_of
from backapp_web.dashboard.forms import going_to
from backapp_web.dashboard.names import agent_names, jobs_to_choose, machines_to_choose, run_names
from backapp_web.pages import page
from backapp_web.parts import OF_A_PAGE, EventNumber, address_of, cut
from backapp_web.words import event_words

_OF_A_LOG = 200


@frozen
class _Chosen:
    """Which runs somebody wants to see, as typed."""

    machine: str = ""
    job: str = ""
    state: str = ""
    since: str = ""
    until: str = ""

    @property
    def is_something(self) -> bool:
        """Whether anything is left out."""
        return self != _Chosen()

    def address(self, **more: str) -> str:
        """Return where it is shown."""
        return address_of("/runs", **asdict(self), **more)

    def run_filter(self, store: TenantStore, before: str) -> RunFilter:
        """Return what is meant; one more than fits on a page is asked for.

        Raises:
            InputError: If a day or a state is none.
            AgentNotFound: If there is no such machine.
        """
        if self.state and self.state not in set(RunState):
            raise InputError("there is no such state of runs")
        until = _day(self.until, days_later=1)  # that day is meant, too
        return RunFilter(
            job_name=self.job or None,
            state=RunState(self.state) if self.state else None,
            agent_id=store.agents.get(self.machine).id if self.machine else None,
            since=_day(self.since),
            until=until,
            before_id=before or None,
            limit=OF_A_PAGE + 1,
        )


@get("/runs", sync_to_thread=True)
def runs(
    request: Call,
    *,
    machine: FromQuery[str] = "",
    job: FromQuery[str] = "",
    run_state: Annotated[str, QueryParameter(name="state")] = "",
    since: FromQuery[str] = "",
    until: FromQuery[str] = "",
    before: FromQuery[str] = "",
) -> Response[bytes]:
    """Show runs, the latest first, a page at a time."""
    store = store_of(request)
    chosen = _Chosen(machine, job, run_state, since, until)
    found: Sequence[Run] = ()
    last: Run | None = None
    error: BackappError | None = None
    try:
        found, last = cut(store.runs.list(chosen.run_filter(store, before)), OF_A_PAGE)
    except BackappError as refused:
        error = refused
    return page(
        request,
        "runs.html",
        status=status_of(error) if error else 200,
        problem=error.message if error else "",
        runs=found,
        chosen=chosen,
        address=chosen.address(before=before),
        older=chosen.address(before=last.id) if last else "",
        newest=chosen.address() if before else "",
        states=list(RunState),
        machines=machines_to_choose(store, only_enrolled=False),
        jobs=jobs_to_choose(store, job),
        names=agent_names(store, (one.agent_id for one in found)),
        called=run_names(store, found),
    )


@get("/runs/{run_id:str}", sync_to_thread=True)
def run_page(request: Call, run_id: FromPath[str], *, after: EventNumber = 0) -> Response[bytes]:
    """Show a run; of its log the part that follows event number ``after``."""
    store, server, caller = store_of(request), server_of(request), caller_of(request)
    run = store.runs.get(run_id)
    agents = store.agents.find([run.agent_id])
    progress = store.runs.progress(run.id)
    job = None
    with suppress(JobNotFound):
        job = store.jobs.get(run.job_name)
    repository_id = repository_id_of(job) if job else ""
    if run.restore:
        repository_id = run.restore.repository_id
    is_online = run.agent_id in agents and server.is_online(agents[run.agent_id])
    return page(
        request,
        "run.html",
        run=run,
        progress=progress,
        pace=pace_of(run, progress, at=server.fleet.now()) if is_online else None,
        machine=agents.get(run.agent_id),
        is_online=is_online,
        job=job,
        called=run_names(store, [run])[run.id],
        repository=store.repositories.find([repository_id]).get(repository_id),
        may_run=caller.may(Action.RUN),
        may_restore=caller.may(Action.RESTORE),
        **_log(store, run.id, after),
    )


@get("/runs/{run_id:str}/log", sync_to_thread=True)
def run_log(request: Call, run_id: FromPath[str], *, after: EventNumber = 0) -> Response[bytes]:
    """Show the part of a log that follows event number ``after``, to be put into the page."""
    store = store_of(request)
    run = store.runs.get(run_id)
    return page(request, "_log.html", run=run, **_log(store, run.id, after))


@post("/runs/{run_id:str}/cancel", status_code=200, sync_to_thread=True)
def cancel_run(request: Call, run_id: FromPath[str]) -> Response[bytes]:
    """Ask for an end."""
    run = server_of(request).cancel(member_of(request).tenant_id, run_id)
    return going_to(f"/runs/{run.id}")


def _log(store: TenantStore, run_id: str, after: int) -> dict[str, Any]:
    found = store.runs.events_after(run_id, after, limit=_OF_A_LOG + 1)
    shown = [(number, at, event_words(event)) for number, at, event in found[:_OF_A_LOG]]
    return {
        "log": shown,
        "after": after,
        "log_end": shown[-1][0] if shown else after,
        "has_more": len(found) > _OF_A_LOG,
    }


def _day(text: str, *, days_later: int = 0) -> datetime | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days_later)
        return datetime.combine(day, time(), UTC)
    except (ValueError, OverflowError):
        raise InputError("a day is written like 2026-01-31") from None


def runs_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[runs, run_page, run_log, cancel_run])
