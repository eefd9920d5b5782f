"""Pages of snapshots: which there are, looking into one through its machine, restoring from it."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery

from backapp_core.engine.request import QuestionWish, RestoreWish
from backapp_core.errors import BackappError, InputError, QuestionNotFound
from backapp_core.model.entries import EntryKind
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.names import from_text, to_line, to_text
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.users import Action
from backapp_core.model.work import Question, QuestionKind
from backapp_core.ports.tenants import TenantStore
from backapp_web.answers import status_of
from backapp_web.callers import Call, caller_of, member_of, server_of, store_of
from backapp_web.dashboard.forms import Form, field, fields, going_to
from backapp_web.dashboard.names import agent_names, repositories_to_choose
from backapp_web.pages import page
from backapp_web.parts import OF_A_PAGE, address_of, cut
from backapp_web.words import moment_of_ns

_LATEST = 5
_OF_A_PAGE = 20
"""Repositories, of each of which the latest are shown."""
_KEPT_SHORTLY = "what was found is kept for five minutes only; ask again"


@frozen
class _Shown:
    """Something in a snapshot, as far as what the machine says of it can be used."""

    path: str
    name: str
    kind: str
    size_bytes: int | None
    modified_at: Any

    @property
    def is_folder(self) -> bool:
        """Whether it can be opened."""
        return self.kind == EntryKind.DIRECTORY


@get("/snapshots", sync_to_thread=True)
def snapshots(
    request: Call,
    *,
    repository: FromQuery[str] = "",
    before: FromQuery[str] = "",
    after: FromQuery[str] = "",
) -> Response[bytes]:
    """Show those of one repository, or the latest of each of some; a page at a time."""
    store = store_of(request)
    if repository:
        one = store.repositories.get(repository)
        found = store.repositories.snapshots(one.id, before=before or None, limit=OF_A_PAGE + 1)
        part, last = cut(found, OF_A_PAGE)
        listed = [(one, part)]
        newest = address_of("/snapshots", repository=one.name) if before else ""
        older = address_of("/snapshots", repository=one.name, before=last.id) if last else ""
    else:
        known = store.repositories.list(after=after, limit=_OF_A_PAGE + 1)
        some, end = cut(known, _OF_A_PAGE)
        latest = store.repositories.latest_snapshots([one.id for one in some], each=_LATEST)
        listed = [(one, latest[one.id]) for one in some]
        newest = "/snapshots" if after else ""
        older = address_of("/snapshots", after=end.name) if end else ""
    return page(
        request,
        "snapshots.html",
        repositories=repositories_to_choose(store),
        chosen=repository,
        shown=listed,
        limit=_LATEST,
        newest=newest,
        older=older,
        names=agent_names(store, (one.agent_id for one, _ in listed)),
        may_restore=caller_of(request).may(Action.RESTORE),
        may_configure=caller_of(request).may(Action.CONFIGURE),
    )


@get("/repositories/{repository:str}/snapshots/{snapshot:str}", sync_to_thread=True)
def snapshot_page(
    request: Call,
    repository: FromPath[str],
    snapshot: FromPath[str],
    *,
    question: FromQuery[str] = "",
) -> Response[bytes]:
    """Show a snapshot, and the answer to a question about it or that one is waited for."""
    asked, problem = None, ""
    if question:
        try:
            asked = server_of(request).question(member_of(request).tenant_id, question)
        except QuestionNotFound:
            problem = _KEPT_SHORTLY
    return _shown_page(request, repository, snapshot, asked=asked, problem=problem)


@post(
    "/repositories/{repository:str}/snapshots/{snapshot:str}/ask",
    status_code=200,
    sync_to_thread=True,
)
def ask(
    request: Call, repository: FromPath[str], snapshot: FromPath[str], data: Form
) -> Response[bytes]:
    """Ask the machine what is in a folder, or where something is."""
    pattern = field(data, "pattern").strip()
    details = {"snapshot_id": snapshot}
    details |= {"pattern": pattern} if pattern else {"folder": field(data, "folder") or "/"}
    kind = QuestionKind.SEARCH if pattern else QuestionKind.LIST_FOLDER
    wish = QuestionWish(repository, kind, details)
    question = server_of(request).ask(member_of(request).tenant_id, wish)
    return going_to(f"/repositories/{repository}/snapshots/{snapshot}?question={question.id}")


@post(
    "/repositories/{repository:str}/snapshots/{snapshot:str}/restore",
    status_code=200,
    sync_to_thread=True,
)
def restore(
    request: Call, repository: FromPath[str], snapshot: FromPath[str], data: Form
) -> Response[bytes]:
    """Ask for a restore, and go to where it can be watched."""
    server, tenant_id, store = server_of(request), member_of(request).tenant_id, store_of(request)
    paths, question = fields(data, "path"), field(data, "question")
    target, is_all = field(data, "target").strip(), bool(field(data, "everything"))
    try:
        _check_choice(paths, is_all=is_all)
        wish = RestoreWish(
            repository=repository,
            snapshot_id=snapshot,
            target=from_text(target),
            paths=() if is_all else tuple(map(from_text, paths)),
        )
        run = server.request_restore(tenant_id, wish)
    except BackappError as error:
        asked = _still_there(store, question)
        return _shown_page(
            request,
            repository,
            snapshot,
            asked=asked,
            ticked=frozenset(paths),
            target=target,
            is_all=is_all,
            problem="" if asked or not question else f"{error.message}; {_KEPT_SHORTLY}",
            error=error,
        )
    return going_to(f"/runs/{run.id}")


def _still_there(store: TenantStore, question_id: str) -> Question | None:
    """Return what was asked, for a page that has something else to say if it is gone."""
    try:
        return store.questions.get(question_id) if question_id else None
    except QuestionNotFound:
        return None


def _check_choice(paths: tuple[str, ...], *, is_all: bool) -> None:
    """Refuse a restore of nothing.

    Raises:
        InputError: If it is one.
    """
    if not paths and not is_all:
        raise InputError("tick what is to be restored, or choose everything")


def _shown_page(
    request: Call,
    repository: str,
    snapshot_id: str,
    *,
    asked: Question | None = None,
    ticked: frozenset[str] = frozenset(),
    target: str = "",
    is_all: bool = False,
    problem: str = "",
    error: BackappError | None = None,
) -> Response[bytes]:
    store = store_of(request)
    found = store.repositories.get(repository)
    snapshot = store.repositories.snapshot(found.id, snapshot_id)
    agent = store.agents.find([found.agent_id]).get(found.agent_id)
    folders = agent.report.restore_folders if agent and agent.report else ()
    return page(
        request,
        "snapshot.html",
        status=status_of(error) if error else 200,
        problem=problem or (error.message if error else ""),
        path="/snapshots",
        repository=found,
        snapshot=snapshot,
        machine=agent,
        is_online=agent is not None and server_of(request).is_online(agent),
        restore_folders=folders,
        target=target or (to_text(folders[0]) if folders else ""),
        ticked=ticked,
        is_all=is_all,
        question=_question_for(asked, found, snapshot),
        nodes=sorted(map(_shown, asked.answer.nodes), key=_order) if asked and asked.answer else [],
    )


def _question_for(
    asked: Question | None, repository: ManagedRepository, snapshot: Snapshot
) -> dict[str, Any] | None:
    """Return what the page says of a question; None if it is about something else."""
    if asked is None or asked.details.get("repository_id") != repository.id:
        return None
    if asked.details.get("snapshot_id") != snapshot.id:
        return None
    folder = from_text(asked.details.get("folder", ""))
    return {
        "id": asked.id,
        "answer": asked.answer,
        "pattern": asked.details.get("pattern", ""),
        "folder": to_text(folder),
        "steps": _steps(folder) if folder else [],
    }


def _steps(folder: bytes) -> list[tuple[str, str]]:
    """Return the folders on the way to one, as what each is called and its path."""
    parts = [part for part in folder.split(b"/") if part]
    ways = [
        (to_text(part), to_text(b"/" + b"/".join(parts[: n + 1]))) for n, part in enumerate(parts)
    ]
    return [("/", "/"), *ways]


def _shown(node: Mapping[str, object]) -> _Shown:
    size_bytes = node.get("size_bytes")
    path = str(node.get("path", ""))
    return _Shown(
        path=to_line(path),
        name=to_line(str(node.get("name", "")) or path),
        kind=to_line(str(node.get("kind", ""))),
        size_bytes=size_bytes if isinstance(size_bytes, int) else None,
        modified_at=moment_of_ns(node.get("mtime_ns")),
    )


def _order(node: _Shown) -> tuple[bool, str]:
    """Folders first."""
    return not node.is_folder, node.path


def snapshots_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[snapshots, snapshot_page, ask, restore])
