"""Pages of repositories: which there are, one of them, a new one, giving one away, removing one."""

from attrs import fields as attributes
from attrs import frozen
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery

from backapp_core.engine.chain import Chain
from backapp_core.engine.configure import RepositoryWish
from backapp_core.errors import AgentNotFound, BackappError, ConflictError, InputError, StillInUse
from backapp_core.model.names import from_text
from backapp_core.model.repositories import DEFAULT_ARCHIVER
from backapp_core.model.users import Action
from backapp_web.answers import status_of
from backapp_web.callers import Call, caller_of, member_of, server_of, store_of
from backapp_web.dashboard.forms import Form, field, going_to
from backapp_web.dashboard.names import agent_names, machines_to_choose
from backapp_web.pages import page
from backapp_web.parts import OF_A_PAGE, ReceiptNumber, address_of, cut

_LATEST_SNAPSHOTS = 5
_LATEST_RECEIPTS = 20
_ON_MACHINE = "folder"
_IN_BUCKET = "bucket:"
_REFUSED = 400


@frozen
class _Typed:
    """What somebody typed into the form."""

    name: str = ""
    agent: str = ""
    place: str = _ON_MACHINE
    """``folder``, or ``bucket:`` and the name of one."""
    folder: str = ""
    archiver: str = DEFAULT_ARCHIVER

    def wish(self) -> RepositoryWish:
        """Return what is meant."""
        bucket = self.place.removeprefix(_IN_BUCKET) if self.place != _ON_MACHINE else ""
        folder = b"" if bucket else from_text(self.folder.strip())
        return RepositoryWish(self.name.strip(), self.agent, bucket, folder, self.archiver)


@get("/repositories", sync_to_thread=True)
def repositories(request: Call, *, after: FromQuery[str] = "") -> Response[bytes]:
    """Show them by name, a page at a time."""
    store = store_of(request)
    found, last = cut(store.repositories.list(after=after, limit=OF_A_PAGE + 1), OF_A_PAGE)
    return page(
        request,
        "repositories.html",
        repositories=found,
        names=agent_names(store, (one.agent_id for one in found)),
        has_machines=bool(store.agents.list(limit=1)),
        has_removed=bool(store.repositories.removed(limit=1)),
        newest="/repositories" if after else "",
        older=address_of("/repositories", after=last.name) if last else "",
        may_configure=caller_of(request).may(Action.CONFIGURE),
    )


@get("/removed-repositories", sync_to_thread=True)
def removed_repositories(request: Call, *, after: FromQuery[str] = "") -> Response[bytes]:
    """Show those that were removed by name, a page at a time."""
    store = store_of(request)
    found, last = cut(store.repositories.removed(after=after, limit=OF_A_PAGE + 1), OF_A_PAGE)
    return page(
        request,
        "removed-repositories.html",
        path="/repositories",
        repositories=found,
        names=agent_names(store, (one.agent_id for one in found)),
        newest="/removed-repositories" if after else "",
        older=address_of("/removed-repositories", after=last.id) if last else "",
    )


@get("/new-repository", sync_to_thread=True)
def new_repository(request: Call, *, machine: FromQuery[str] = "") -> Response[bytes]:
    """Show the form."""
    return _form(request, _Typed(agent=machine))


@post("/repositories", status_code=200, sync_to_thread=True)
def add_repository(request: Call, data: Form) -> Response[bytes]:
    """Make one, or show what cannot be."""
    typed = _Typed(**{one.name: field(data, one.name) for one in attributes(_Typed)})
    server, tenant_id = server_of(request), member_of(request).tenant_id
    faults: dict[str, list[str]] = {}
    for fault in server.repository_faults(tenant_id, typed.wish()):
        faults.setdefault(fault.field, []).append(fault.sentence)
    if faults:
        return _form(request, typed, faults=faults)
    try:
        made = server.add_repository(tenant_id, typed.wish())
    except BackappError as error:
        return _form(request, typed, error=error)
    return going_to(f"/repositories/{made.name}")


@get("/repositories/{repository:str}", sync_to_thread=True)
def repository_page(request: Call, repository: FromPath[str]) -> Response[bytes]:
    """Show one."""
    return _repository(request, repository)


@post("/repositories/{repository:str}/check-receipts", status_code=200, sync_to_thread=True)
def check_receipts(request: Call, repository: FromPath[str]) -> Response[bytes]:
    """Show one, and whether its receipts are a chain."""
    chain = server_of(request).check_chain(member_of(request).tenant_id, repository)
    return _repository(request, repository, chain)


@post("/repositories/{repository:str}/remove", status_code=200, sync_to_thread=True)
def remove_repository(request: Call, repository: FromPath[str], data: Form) -> Response[bytes]:
    """Take one off the lists whose name was typed, or show what stands against it."""
    found = store_of(request).repositories.get(repository)
    typed = field(data, "confirmed").strip()
    error: BackappError
    if typed == found.name:
        try:
            server_of(request).remove_repository(member_of(request).tenant_id, found.id)
        except StillInUse as refusal:
            error = refusal
        else:
            return going_to("/repositories")
    else:
        error = InputError(f"type the name of the repository, {found.name}, to remove it")
    return _repository(request, found.id, error=error, confirmed=typed)


@post("/repositories/{repository:str}/hand-over", status_code=200, sync_to_thread=True)
def hand_over(request: Call, repository: FromPath[str], data: Form) -> Response[bytes]:
    """Let another machine use one, or show what stands against it."""
    chosen = field(data, "agent").strip()
    try:
        server_of(request).hand_over(member_of(request).tenant_id, repository, chosen)
    except (InputError, AgentNotFound, ConflictError) as error:
        return _repository(request, repository, error=error)
    return going_to(f"/repositories/{repository}")


@get("/repositories/{repository:str}/receipts", sync_to_thread=True)
def receipts(
    request: Call, repository: FromPath[str], *, before: ReceiptNumber = None
) -> Response[bytes]:
    """Show the receipts of one, the newest first, a page at a time."""
    store = store_of(request)
    found = store.repositories.get(repository)
    listed = store.repositories.receipts(found.id, before=before, limit=OF_A_PAGE + 1)
    shown, last = cut(listed, OF_A_PAGE)
    here = f"/repositories/{found.id if found.removed_at else found.name}/receipts"
    return page(
        request,
        "receipts.html",
        path="/repositories",
        repository=found,
        receipts=shown,
        newest=here if before else "",
        older=address_of(here, before=str(last.sequence)) if last else "",
    )


def _repository(
    request: Call,
    name: str,
    chain: Chain | None = None,
    *,
    error: BackappError | None = None,
    confirmed: str = "",
) -> Response[bytes]:
    store, caller = store_of(request), caller_of(request)
    found = store.repositories.get(name)
    agent = store.agents.find([found.agent_id]).get(found.agent_id)
    is_revoked = bool(agent and agent.revoked_at)
    is_lost = is_revoked and found.initialised_at is not None and found.removed_at is None
    jobs, last = cut(store.jobs.filling(found.id, limit=OF_A_PAGE + 1), OF_A_PAGE)
    return page(
        request,
        "repository.html",
        status=status_of(error) if error else 200,
        problem=error.message if error else "",
        confirmed=confirmed,
        path=f"/repositories/{found.name}",
        repository=found,
        machine=agent.name if agent else found.agent_id,
        is_revoked=is_revoked,
        is_lost=is_lost,
        jobs=jobs,
        has_more_jobs=last is not None,
        snapshots=store.repositories.snapshots(found.id, limit=_LATEST_SNAPSHOTS),
        receipts=store.repositories.receipts(found.id, limit=_LATEST_RECEIPTS),
        chain=chain,
        machines=machines_to_choose(store, only_enrolled=True) if is_lost else [],
        may_restore=caller.may(Action.RESTORE),
        may_configure=caller.may(Action.CONFIGURE),
    )


def _form(
    request: Call,
    typed: _Typed,
    *,
    faults: dict[str, list[str]] | None = None,
    error: BackappError | None = None,
) -> Response[bytes]:
    server = server_of(request)
    machines = machines_to_choose(store_of(request), only_enrolled=True)
    return page(
        request,
        "repository-form.html",
        status=status_of(error) if error else _REFUSED if faults else 200,
        path="/repositories",
        typed=typed,
        faults=faults or {},
        machines=machines,
        archivers=[kind.name for kind in server.plugins.archivers.kinds],
        buckets=sorted(server.settings.buckets),
        problem=error.message if error else "",
    )


def repositories_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[
            *(repositories, new_repository, add_repository, repository_page),
            *(receipts, check_receipts, removed_repositories, remove_repository, hand_over),
        ],
    )
