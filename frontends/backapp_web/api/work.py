"""What machines ask for: their work and nothing else, one route per method of `ports.work.Work`."""

from litestar import Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from backapp_core.codec import event_from_plain
from backapp_core.errors import InputError
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.receipts import Receipt
from backapp_core.model.work import Claim, Orders, Question, Renewal
from backapp_core.ports.work import Work
from backapp_core.wire import (
    AGENT,
    MOST_SEEN,
    QUESTIONS,
    REPOSITORIES,
    RUNS,
    AcknowledgeBody,
    AnswerBody,
    ClaimBody,
    CreatedBody,
    FenceBody,
    FinishBody,
    HelloBody,
    InstanceBody,
    RenewBody,
    ReportBody,
    SeeBody,
)
from backapp_web.api.grants import check_count
from backapp_web.callers import Call, agent_of, server_of

_NOTHING = {204: ResponseSpec(None, description="There is nothing.", generate_examples=False)}


def work_of(request: Call) -> Work:
    """Return what the machine that calls may ask for."""
    return server_of(request).work_of(agent_of(request))


@post(f"{AGENT}/hello", status_code=200, sync_to_thread=True)
def hello(request: Call, data: JSONBody[HelloBody]) -> Orders:
    """Say that the machine lives."""
    alive = server_of(request).alive_seconds(data.alive_seconds)
    return work_of(request).hello(data.report, alive_seconds=alive)


@post(f"{AGENT}/goodbye", status_code=204, sync_to_thread=True)
def goodbye(request: Call, data: JSONBody[InstanceBody]) -> None:
    """Say that a process of the machine ends."""
    work_of(request).goodbye(data.instance)


@post(f"{AGENT}/claim", status_code=200, sync_to_thread=True, responses=_NOTHING)
def claim(request: Call, data: JSONBody[ClaimBody]) -> Response[Claim | None]:
    """Take over the run that has waited longest."""
    lease = server_of(request).lease_seconds(data.lease_seconds)
    claimed = work_of(request).claim(data.instance, lease_seconds=lease)
    return Response(claimed, status_code=204 if claimed is None else 200)


@post(f"{RUNS}/{{run_id:str}}/renew", status_code=200, sync_to_thread=True)
def renew(request: Call, run_id: FromPath[str], data: JSONBody[RenewBody]) -> Renewal:
    """Go on with a run."""
    lease = server_of(request).lease_seconds(data.lease_seconds)
    return work_of(request).renew(run_id, data.fence, lease_seconds=lease)


@post(f"{RUNS}/{{run_id:str}}/report", status_code=204, sync_to_thread=True)
def report(request: Call, run_id: FromPath[str], data: JSONBody[ReportBody]) -> None:
    """Tell what happened, and how far a run has come."""
    events = [(moment, event_from_plain(plain)) for moment, plain in data.events]
    work_of(request).report(run_id, data.fence, events, data.progress)


@post(f"{RUNS}/{{run_id:str}}/hand-back", status_code=204, sync_to_thread=True)
def hand_back(request: Call, run_id: FromPath[str], data: JSONBody[FenceBody]) -> None:
    """Give up the lease of a run that could not go on."""
    work_of(request).hand_back(run_id, data.fence)


@post(f"{RUNS}/{{run_id:str}}/finish", status_code=204, sync_to_thread=True)
def finish(request: Call, run_id: FromPath[str], data: JSONBody[FinishBody]) -> None:
    """Put a run in its final state.

    Raises:
        InputError: If the body speaks of another run than the address.
    """
    if data.ended.id != run_id:
        raise InputError("the run in the body is another one than that in the address")
    work_of(request).finish(data.fence, data.ended)


@post(f"{RUNS}/{{run_id:str}}/see", status_code=204, sync_to_thread=True)
def see(request: Call, run_id: FromPath[str], data: JSONBody[SeeBody]) -> None:
    """Have a part of the objects of a snapshot seen, before it is acknowledged."""
    check_count(len(data.objects), MOST_SEEN)
    work_of(request).see_objects(
        run_id, data.fence, data.snapshot_id, data.objects, after=data.after
    )


@post(f"{RUNS}/{{run_id:str}}/acknowledge", status_code=200, sync_to_thread=True)
def acknowledge(request: Call, run_id: FromPath[str], data: JSONBody[AcknowledgeBody]) -> Receipt:
    """Tell of a snapshot, have its objects seen, and get a receipt."""
    check_count(len(data.objects), MOST_SEEN)
    return work_of(request).acknowledge(
        run_id, data.fence, data.snapshot, data.objects, after=data.after
    )


@get(REPOSITORIES, sync_to_thread=True)
def list_repositories(request: Call) -> list[ManagedRepository]:
    """Return all repositories of the machine, by name."""
    return list(work_of(request).repositories())


@get(f"{REPOSITORIES}/{{repository_id:str}}", sync_to_thread=True)
def get_repository(request: Call, repository_id: FromPath[str]) -> ManagedRepository:
    """Return a repository of the machine."""
    return work_of(request).repository(repository_id)


@post(f"{REPOSITORIES}/{{repository_id:str}}/created", status_code=200, sync_to_thread=True)
def created(
    request: Call, repository_id: FromPath[str], data: JSONBody[CreatedBody]
) -> ManagedRepository:
    """Tell that a repository exists now."""
    return work_of(request).report_created(repository_id, data.own_id)


@post(f"{REPOSITORIES}/{{repository_id:str}}/sheet", status_code=200, sync_to_thread=True)
def sheet(request: Call, repository_id: FromPath[str]) -> ManagedRepository:
    """Tell that somebody keeps the recovery sheet."""
    return work_of(request).confirm_sheet(repository_id)


@post(f"{QUESTIONS}/next", status_code=200, sync_to_thread=True, responses=_NOTHING)
def next_question(request: Call) -> Response[Question | None]:
    """Return a question that nobody answered yet."""
    question = work_of(request).next_question()
    return Response(question, status_code=204 if question is None else 200)


@post(f"{QUESTIONS}/{{question_id:str}}", status_code=204, sync_to_thread=True)
def answer(request: Call, question_id: FromPath[str], data: JSONBody[AnswerBody]) -> None:
    """Answer a question."""
    work_of(request).answer(question_id, data.answer)


def work_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[
            *(hello, goodbye, claim, renew, report, hand_back, finish, see, acknowledge),
            *(list_repositories, get_repository, created, sheet, next_question, answer),
        ],
        tags=["machines themselves"],
    )
