"""What happens: runs with their events, restores, and questions to the machines."""

from datetime import datetime
from typing import Annotated

from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from backapp_core.codec import event_to_plain
from backapp_core.engine.request import QuestionWish, RestoreWish
from backapp_core.errors import InputError
from backapp_core.model.runs import Run, RunState
from backapp_core.model.work import Question
from backapp_core.ports.stores import RunFilter
from backapp_core.wire import API
from backapp_web.api.shapes import Events, EventShown, RunPage, RunShown
from backapp_web.callers import Call, member_of, server_of, store_of
from backapp_web.parts import EventNumber

MOST_RUNS = 200
MOST_EVENTS = 1000

_RunLimit = Annotated[int, QueryParameter(ge=1, le=MOST_RUNS)]
_EventLimit = Annotated[int, QueryParameter(ge=1, le=MOST_EVENTS)]


@get(f"{API}/runs", sync_to_thread=True)
def list_runs(
    request: Call,
    *,
    job: FromQuery[str | None] = None,
    run_state: Annotated[RunState | None, QueryParameter(name="state")] = None,
    agent: FromQuery[str | None] = None,
    since: FromQuery[datetime | None] = None,
    until: FromQuery[datetime | None] = None,
    before: FromQuery[str | None] = None,
    limit: _RunLimit = 50,
) -> RunPage:
    """Return runs, the latest requested first, a page at a time."""
    store = store_of(request)
    chosen = RunFilter(
        job_name=job,
        state=run_state,
        agent_id=store.agents.get(agent).id if agent else None,
        since=_aware(since, "since"),
        until=_aware(until, "until"),
        before_id=before,
        limit=limit + 1,
    )
    runs = list(store.runs.list(chosen))
    is_more = len(runs) > limit
    return RunPage(tuple(runs[:limit]), runs[limit - 1].id if is_more else None)


@get(f"{API}/runs/{{run_id:str}}", sync_to_thread=True)
def get_run(request: Call, run_id: FromPath[str]) -> RunShown:
    """Return the run whose id is, or begins with, this; and how far it has come."""
    runs = store_of(request).runs
    run = runs.get(run_id)
    return RunShown(run, runs.progress(run.id))


@get(f"{API}/runs/{{run_id:str}}/events", sync_to_thread=True)
def list_events(
    request: Call, run_id: FromPath[str], *, after: EventNumber = 0, limit: _EventLimit = 500
) -> Events:
    """Return what happened during a run after the event of that number."""
    runs = store_of(request).runs
    found = runs.events_after(runs.get(run_id).id, after, limit=limit)
    return Events(
        tuple(EventShown(number, at, event_to_plain(event)) for number, at, event in found)
    )


@post(f"{API}/runs/{{run_id:str}}/cancel", status_code=202, sync_to_thread=True)
def cancel(request: Call, run_id: FromPath[str]) -> Run:
    """Cancel a run that waits, or ask the machine to stop a running one."""
    return server_of(request).cancel(member_of(request).tenant_id, run_id)


@post(f"{API}/restores", status_code=202, sync_to_thread=True)
def restore(request: Call, data: JSONBody[RestoreWish]) -> Run:
    """Ask for a restore on the machine that holds the key; while the same waits, that is given."""
    return server_of(request).request_restore(member_of(request).tenant_id, data)


@post(f"{API}/questions", status_code=202, sync_to_thread=True)
def ask(request: Call, data: JSONBody[QuestionWish]) -> Question:
    """Ask the machine that holds a repository's key; look for the answer by the id."""
    return server_of(request).ask(member_of(request).tenant_id, data)


@get(f"{API}/questions/{{question_id:str}}", sync_to_thread=True)
def get_question(request: Call, question_id: FromPath[str]) -> Question:
    """Return a question, with its answer once there is one."""
    return server_of(request).question(member_of(request).tenant_id, question_id)


def _aware(moment: datetime | None, name: str) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InputError(f"'{name}' has no time zone; write it like 2026-01-31T12:00:00Z")
    return moment


def runs_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[list_runs, get_run, list_events, cancel, restore, ask, get_question],
        tags=["runs"],
    )
