"""Pages of jobs: which there are, one of them, the form, run now, removing one."""

import zoneinfo
from datetime import datetime
from functools import cache
from typing import Any

from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery

from backapp_core.engine.configure import repository_id_of
from backapp_core.engine.tokens import new_id
from backapp_core.errors import BackappError
from backapp_core.model.jobs import Job
from backapp_core.model.users import Action
from backapp_core.ports.stores import RunFilter
from backapp_web.answers import status_of
from backapp_web.callers import Call, caller_of, member_of, server_of, store_of
from backapp_web.dashboard.forms import Form, field, going_to
from backapp_web.dashboard.job_form import JobForm
from backapp_web.dashboard.names import agent_names, repositories_to_choose, run_names
from backapp_web.pages import page
from backapp_web.parts import OF_A_PAGE, address_of, cut

_LATEST_RUNS = 10
_REFUSED = 400


@get("/jobs", sync_to_thread=True)
def jobs(request: Call, *, after: FromQuery[str] = "") -> Response[bytes]:
    """Show them by name, a page at a time."""
    server, store, caller = server_of(request), store_of(request), caller_of(request)
    found, last = cut(store.jobs.list(after=after, limit=OF_A_PAGE + 1), OF_A_PAGE)
    agents = store.agents.find({job.agent_id for job in found})
    repositories = store.repositories.find({repository_id_of(job) for job in found})
    now = server.fleet.now()
    return page(
        request,
        "jobs.html",
        jobs=found,
        due={job.name: next(iter(_due(request, job, after=now, count=1)), None) for job in found},
        last=store.runs.latest_of_jobs([job.name for job in found]),
        names={key: one.name for key, one in agents.items()},
        has_repositories=bool(repositories or store.repositories.list(limit=1)),
        repositories={key: one.name for key, one in repositories.items()},
        repository_id_of=repository_id_of,
        online={key: server.is_online(one, at=now) for key, one in agents.items()},
        revoked={key for key, one in agents.items() if one.revoked_at},
        address=address_of("/jobs", after=after),
        newest="/jobs" if after else "",
        older=address_of("/jobs", after=last.name) if last else "",
        may_configure=caller.may(Action.CONFIGURE),
        may_run=caller.may(Action.RUN),
        once=new_id(server.surroundings),
    )


@get("/new-job", sync_to_thread=True)
def new_job(request: Call, *, repository: FromQuery[str] = "") -> Response[bytes]:
    """Show an empty form."""
    return _form(request, JobForm(repository=repository))


@post("/jobs", status_code=200, sync_to_thread=True)
def add_job(request: Call, data: Form) -> Response[bytes]:
    """Make a job, or show what cannot be."""
    return _saved(request, data, JobForm.of(data), None)


@post("/preview-schedule", status_code=200, sync_to_thread=True)
def preview_schedule(request: Call, data: Form) -> Response[bytes]:
    """Show the part of the form that says when it would run."""
    return page(request, "_preview.html", is_said=False, **_preview(request, JobForm.of(data)))


@get("/jobs/{job:str}", sync_to_thread=True)
def job_page(request: Call, job: FromPath[str]) -> Response[bytes]:
    """Show a job."""
    store, caller = store_of(request), caller_of(request)
    found = store.jobs.get(job)
    repository_id = repository_id_of(found)
    repository = store.repositories.find([repository_id]).get(repository_id)
    agents = store.agents.find([found.agent_id])
    runs = store.runs.list(RunFilter(job_name=found.name, limit=_LATEST_RUNS))
    return page(
        request,
        "job.html",
        job=found,
        form=JobForm.showing(found),
        repository=repository,
        machine=agents.get(found.agent_id),
        is_online=found.agent_id in agents and server_of(request).is_online(agents[found.agent_id]),
        due=_due(request, found),
        runs=runs,
        names=agent_names(store, (one.agent_id for one in runs)),
        called=run_names(store, runs),
        may_configure=caller.may(Action.CONFIGURE),
        may_run=caller.may(Action.RUN),
        once=new_id(server_of(request).surroundings),
    )


@get("/jobs/{job:str}/edit", sync_to_thread=True)
def edit_job(request: Call, job: FromPath[str]) -> Response[bytes]:
    """Show the form of a job."""
    found = store_of(request).jobs.get(job)
    return _form(request, JobForm.showing(found), former=found)


@post("/jobs/{job:str}/edit", status_code=200, sync_to_thread=True)
def change_job(request: Call, job: FromPath[str], data: Form) -> Response[bytes]:
    """Change a job, or show what cannot be."""
    former = store_of(request).jobs.get(job)
    return _saved(request, data, JobForm.of(data, former), former)


@post("/jobs/{job:str}/run", status_code=200, sync_to_thread=True)
def run_job(request: Call, job: FromPath[str], data: Form) -> Response[bytes]:
    """Ask for a run now, once for each time that the button was shown; go to watch it."""
    once = field(data, "once")
    run = server_of(request).request_run(member_of(request).tenant_id, job, once=once)
    return going_to(f"/runs/{run.id}")


@post("/jobs/{job:str}/remove", status_code=200, sync_to_thread=True)
def remove_job(request: Call, job: FromPath[str]) -> Response[bytes]:
    """Forget a job; its runs and snapshots stay."""
    store_of(request).jobs.remove(job)
    return going_to("/jobs")


def _saved(request: Call, data: Form, typed: JobForm, former: Job | None) -> Response[bytes]:
    if field(data, "preview"):
        return _form(request, typed, former=former)
    server, tenant_id = server_of(request), member_of(request).tenant_id
    wish, faults = typed.wish()
    for fault in server.job_faults(tenant_id, wish, is_new=former is None):
        faults.setdefault(fault.field, []).append(fault.sentence)
    if faults:
        return _form(request, typed, former=former, faults=faults)
    try:
        save = server.add_job if former is None else server.replace_job
        saved = save(tenant_id, wish)
    except BackappError as error:
        return _form(request, typed, former=former, error=error)
    return going_to(f"/jobs/{saved.name}")


def _form(
    request: Call,
    typed: JobForm,
    *,
    former: Job | None = None,
    faults: dict[str, list[str]] | None = None,
    error: BackappError | None = None,
) -> Response[bytes]:
    store = store_of(request)
    return page(
        request,
        "job-form.html",
        status=status_of(error) if error else _REFUSED if faults else 200,
        path="/jobs",
        typed=typed,
        former=former,
        faults=faults or {},
        repositories=repositories_to_choose(store),
        zones=_zones(),
        problem=error.message if error else "",
        is_said=bool(faults and {"schedule", "time_zone"} & set(faults)),
        **_preview(request, typed),
    )


def _preview(request: Call, typed: JobForm) -> dict[str, Any]:
    """Return when a schedule would be due, in words and moments, or why it never is."""
    wished, server = typed.wished_schedule, server_of(request)
    if wished is None:
        return {"described": "", "moments": [], "never": ""}
    try:
        moments = server.preview(wished)
        return {"described": server.described(wished), "moments": moments, "never": ""}
    except BackappError as error:
        return {"described": "", "moments": [], "never": error.message}


def _due(
    request: Call, job: Job, *, after: datetime | None = None, count: int = 5
) -> list[datetime]:
    try:
        return server_of(request).next_due(job, count=count, after=after)
    except BackappError:
        # A plugin is missing by now; the page says that nothing is due, and the log why.
        return []


@cache
def _zones() -> tuple[str, ...]:
    return tuple(sorted(zoneinfo.available_timezones()))


def jobs_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[
            *(jobs, new_job, add_job, preview_schedule, job_page, edit_job, change_job),
            *(run_job, remove_job),
        ],
    )
