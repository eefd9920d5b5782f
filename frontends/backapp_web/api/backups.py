"""What is backed up whereto: repositories and jobs."""

from attrs import fields
from litestar import Router, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from backapp_core.engine.chain import Chain
from backapp_core.engine.configure import JobWish, RepositoryWish
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.runs import Run
from backapp_core.model.schedules import Schedule
from backapp_core.wire import API
from backapp_web.api.shapes import (
    Buckets,
    HandOverBody,
    JobBody,
    Jobs,
    JobShown,
    NewJobBody,
    Preview,
    Receipts,
    ReceiptShown,
    Repositories,
    RepositoryShown,
    Snapshots,
    job_shown,
)
from backapp_web.callers import Call, member_of, server_of, store_of
from backapp_web.parts import OF_A_PART, Limit, ReceiptNumber, cut


def _shown(repository: ManagedRepository) -> RepositoryShown:
    return RepositoryShown(repository, repository.is_protected)


def _wish(name: str, body: JobBody) -> JobWish:
    return JobWish(
        name=name,
        repository=body.repository,
        roots=body.roots,
        scanner_settings=body.scanner_settings,
        schedule=body.schedule,
        tags=body.tags,
        is_enabled=body.is_enabled,
    )


@get(f"{API}/repositories", sync_to_thread=True)
def list_repositories(
    request: Call, *, after: FromQuery[str] = "", limit: Limit = OF_A_PART
) -> Repositories:
    """Return repositories by name, those after this one, a part at a time."""
    found, last = cut(store_of(request).repositories.list(after=after, limit=limit + 1), limit)
    return Repositories(tuple(map(_shown, found)), last.name if last else None)


@post(f"{API}/repositories", status_code=201, sync_to_thread=True)
def add_repository(request: Call, data: JSONBody[RepositoryWish]) -> RepositoryShown:
    """Make room for a repository, which its machine creates when it first needs it."""
    return _shown(server_of(request).add_repository(member_of(request).tenant_id, data))


@get(f"{API}/removed-repositories", sync_to_thread=True)
def list_removed_repositories(
    request: Call, *, after: FromQuery[str] = "", limit: Limit = OF_A_PART
) -> Repositories:
    """Return repositories that were removed by name, those after the one of this id, in parts."""
    found, last = cut(store_of(request).repositories.removed(after=after, limit=limit + 1), limit)
    return Repositories(tuple(map(_shown, found)), last.id if last else None)


@get(f"{API}/repositories/{{repository:str}}", sync_to_thread=True)
def get_repository(request: Call, repository: FromPath[str]) -> RepositoryShown:
    """Return the repository of this id or name, also one that was removed."""
    return _shown(store_of(request).repositories.get(repository))


@delete(f"{API}/repositories/{{repository:str}}", status_code=204, sync_to_thread=True)
def remove_repository(request: Call, repository: FromPath[str]) -> None:
    """Take a repository that nothing uses off the lists; receipts stay, and what it holds."""
    server_of(request).remove_repository(member_of(request).tenant_id, repository)


@post(f"{API}/repositories/{{repository:str}}/hand-over", status_code=200, sync_to_thread=True)
def hand_over(
    request: Call, repository: FromPath[str], data: JSONBody[HandOverBody]
) -> RepositoryShown:
    """Let another machine use the repository of one whose key was taken back, and run its jobs."""
    tenant_id = member_of(request).tenant_id
    return _shown(server_of(request).hand_over(tenant_id, repository, data.agent))


@get(f"{API}/repositories/{{repository:str}}/snapshots", sync_to_thread=True)
def list_snapshots(
    request: Call,
    repository: FromPath[str],
    *,
    before: FromQuery[str | None] = None,
    limit: Limit = OF_A_PART,
) -> Snapshots:
    """Return the snapshots that were acknowledged, the newest first, a part at a time."""
    repositories = store_of(request).repositories
    own = repositories.get(repository).id
    found, last = cut(repositories.snapshots(own, before=before, limit=limit + 1), limit)
    return Snapshots(tuple(found), last.id if last else None)


@get(f"{API}/repositories/{{repository:str}}/receipts", sync_to_thread=True)
def list_receipts(
    request: Call,
    repository: FromPath[str],
    *,
    before: ReceiptNumber = None,
    limit: Limit = OF_A_PART,
) -> Receipts:
    """Return receipts, the newest first, a part at a time."""
    repositories = store_of(request).repositories
    own = repositories.get(repository).id
    found, last = cut(repositories.receipts(own, before=before, limit=limit + 1), limit)
    shown = tuple(
        ReceiptShown(**{field.name: getattr(one, field.name) for field in fields(ReceiptShown)})
        for one in found
    )
    return Receipts(shown, last.sequence if last else None)


@post(f"{API}/repositories/{{repository:str}}/check-receipts", status_code=200, sync_to_thread=True)
def check_receipts(request: Call, repository: FromPath[str]) -> Chain:
    """Look whether all receipts of a repository are a chain."""
    return server_of(request).check_chain(member_of(request).tenant_id, repository)


@get(f"{API}/buckets", sync_to_thread=True)
def list_buckets(request: Call) -> Buckets:
    """Return the names of the buckets in which repositories can be made."""
    return Buckets(tuple(sorted(server_of(request).settings.buckets)))


@get(f"{API}/jobs", sync_to_thread=True)
def list_jobs(request: Call, *, after: FromQuery[str] = "", limit: Limit = OF_A_PART) -> Jobs:
    """Return jobs by name, those after this one, a part at a time."""
    found, last = cut(store_of(request).jobs.list(after=after, limit=limit + 1), limit)
    return Jobs(tuple(map(job_shown, found)), last.name if last else None)


@post(f"{API}/jobs", status_code=201, sync_to_thread=True)
def add_job(request: Call, data: JSONBody[NewJobBody]) -> JobShown:
    """Make a job."""
    server = server_of(request)
    job = server.add_job(member_of(request).tenant_id, _wish(data.name, data.job))
    return job_shown(job, tuple(server.next_due(job)))


@get(f"{API}/jobs/{{job:str}}", sync_to_thread=True)
def get_job(request: Call, job: FromPath[str]) -> JobShown:
    """Return a job, and when it is due next."""
    found = store_of(request).jobs.get(job)
    return job_shown(found, tuple(server_of(request).next_due(found)))


@put(f"{API}/jobs/{{job:str}}", sync_to_thread=True)
def replace_job(request: Call, job: FromPath[str], data: JSONBody[JobBody]) -> JobShown:
    """Change a job."""
    server = server_of(request)
    changed = server.replace_job(member_of(request).tenant_id, _wish(job, data))
    return job_shown(changed, tuple(server.next_due(changed)))


@delete(f"{API}/jobs/{{job:str}}", status_code=204, sync_to_thread=True)
def remove_job(request: Call, job: FromPath[str]) -> None:
    """Forget a job; its runs and snapshots stay."""
    store_of(request).jobs.remove(job)


@post(f"{API}/jobs/{{job:str}}/run", status_code=202, sync_to_thread=True)
def run_job(request: Call, job: FromPath[str]) -> Run:
    """Ask for a run now; while a run of the job waits, that one is given."""
    return server_of(request).request_run(member_of(request).tenant_id, job)


@post(f"{API}/schedules/preview", status_code=200, sync_to_thread=True)
def preview(request: Call, data: JSONBody[Schedule]) -> Preview:
    """Return the next five due moments of a schedule that is being made."""
    return Preview(tuple(server_of(request).preview(data)))


def backups_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[
            *(list_repositories, add_repository, get_repository, list_snapshots, list_receipts),
            *(list_removed_repositories, remove_repository, hand_over, check_receipts),
            *(list_buckets, list_jobs, add_job, get_job, replace_job, remove_job, run_job, preview),
        ],
        tags=["backups"],
    )
