"""Somebody asks for something: a run now, a restore, a look into a repository."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from attrs import evolve, frozen

from backapp_core.engine.configure import (
    absolute_path,
    is_in_one_of,
    usable_agent,
    usable_repository,
)
from backapp_core.engine.tokens import hash_of, new_id
from backapp_core.errors import InvalidJob, NameTaken
from backapp_core.model.agents import Agent
from backapp_core.model.names import to_text
from backapp_core.model.runs import RestoreOrder, Run, RunKind, RunState
from backapp_core.model.work import Question, QuestionKind
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.tenants import TenantStore

QUESTION_SECONDS = 300.0
_MOST_PATHS = 1000
_LONGEST_DETAIL = 8192
_NEEDED = {
    QuestionKind.LIST_FOLDER: {"snapshot_id", "folder"},
    QuestionKind.SEARCH: {"snapshot_id", "pattern"},
    QuestionKind.SNAPSHOTS: set[str](),
}


@frozen
class RestoreWish:
    """A restore that somebody wants, onto the machine that holds the key."""

    repository: str
    """Id or name of the repository that has the snapshot."""
    snapshot_id: str
    """Whole id."""
    target: bytes
    """Absolute path of a folder on that machine."""
    paths: tuple[bytes, ...] = ()
    """Only these, with everything below them; empty: all of the snapshot."""


@frozen
class QuestionWish:
    """Something that somebody wants to know of a repository."""

    repository: str
    """Id or name."""
    kind: QuestionKind
    details: Mapping[str, str]
    """What the kind needs besides the repository."""


def request_run(
    fleet: Fleet,
    surroundings: Surroundings,
    store: TenantStore,
    job_name: str,
    *,
    once: str = "",
) -> Run:
    """Ask for a run of a job now; return the one that waits already, if there is one.

    Args:
        fleet: Whose clock counts.
        surroundings: Where ids come from.
        store: What the tenant owns.
        job_name: Which job.
        once: Any words; who sends the same ones again for this job, as by a second click, is given
            the same run, also after it began, until it has ended. Empty: nothing is told by them.

    Raises:
        JobNotFound: If there is no such job.
        InvalidJob: If its machine is no longer enrolled.
        AgentNotFound: If it has none.
    """
    job = store.jobs.get(job_name)
    agent = usable_agent(store.agents.get(job.agent_id))
    run = evolve(_new_run(fleet, surroundings, agent), job_name=job.name)
    if once:
        # As long as an id; that of another tenant is another one's run.
        own = hash_of(f"{once} {job.name}")[: len(run.id)]
        with suppress(NameTaken):
            return _request(fleet, store, evolve(run, id=own))
    return _request(fleet, store, run)


def request_restore(
    fleet: Fleet, surroundings: Surroundings, store: TenantStore, wish: RestoreWish
) -> Run:
    """Ask for a restore of a snapshot that was acknowledged; the same one that waits is enough.

    Raises:
        RepositoryNotFound: If there is no such repository, or it was removed.
        SnapshotNotFound: If it has no such snapshot.
        InvalidJob: If the target makes no sense, the machine's own policy keeps it out, or the
            machine is no longer enrolled.
        AgentNotFound: If there is no machine.
    """
    repository = usable_repository(store.repositories.get(wish.repository))
    agent = usable_agent(store.agents.get(repository.agent_id))
    store.repositories.snapshot(repository.id, wish.snapshot_id)
    _check_target(agent, wish)
    order = RestoreOrder(repository.id, wish.snapshot_id, wish.target, wish.paths)
    run = _new_run(fleet, surroundings, agent)
    return _request(fleet, store, evolve(run, kind=RunKind.RESTORE, restore=order))


def ask(
    fleet: Fleet, surroundings: Surroundings, store: TenantStore, wish: QuestionWish
) -> Question:
    """Ask the machine that holds a repository's key; the answer is looked for by the id.

    Raises:
        RepositoryNotFound: If there is no such repository, or it was removed.
        InvalidJob: If the machine is no longer enrolled, or what the question needs is missing.
        SnapshotNotFound: If the repository has no such snapshot.
        AgentNotFound: If there is no machine.
    """
    repository = usable_repository(store.repositories.get(wish.repository))
    agent = usable_agent(store.agents.get(repository.agent_id))
    needed = _NEEDED[wish.kind]
    if set(wish.details) != needed:
        names = ", ".join(sorted(needed)) or "nothing"
        raise InvalidJob(f"a question of the kind {wish.kind} takes {names} in its details")
    if any(len(value) > _LONGEST_DETAIL for value in wish.details.values()):
        raise InvalidJob(f"a detail of a question has at most {_LONGEST_DETAIL:,} characters")
    if "snapshot_id" in needed:
        store.repositories.snapshot(repository.id, wish.details["snapshot_id"])
    now = fleet.now()
    question = Question(
        id=new_id(surroundings),
        agent_id=agent.id,
        kind=wish.kind,
        details={"repository_id": repository.id, **wish.details},
        asked_at=now,
        expires_at=now + timedelta(seconds=QUESTION_SECONDS),
    )
    store.questions.ask(question)
    fleet.announce("questions", question.id)
    return question


def cancel(fleet: Fleet, store: TenantStore, run_id: str) -> Run:
    """Cancel a run that waits, or ask the machine to stop a running one.

    Raises:
        RunNotFound: If there is none of this id.
        IllegalTransition: If it has ended.
    """
    run = store.runs.wish_cancel(store.runs.get(run_id).id)
    fleet.announce("runs", run.id)
    return run


def _new_run(fleet: Fleet, surroundings: Surroundings, agent: Agent) -> Run:
    return Run(
        id=new_id(surroundings),
        job_name="",
        state=RunState.REQUESTED,
        requested_at=fleet.now(),
        agent_id=agent.id,
    )


def _request(fleet: Fleet, store: TenantStore, wanted: Run) -> Run:
    run = store.runs.request(wanted)
    fleet.announce("runs", run.id)
    return run


def _check_target(agent: Agent, wish: RestoreWish) -> None:
    absolute_path(wish.target, "the folder of a restore")
    if len(wish.paths) > _MOST_PATHS:
        raise InvalidJob(f"name at most {_MOST_PATHS:,} paths, or a folder that holds them")
    for path in wish.paths:
        absolute_path(path, "a path in a snapshot")
    allowed = agent.report.restore_folders if agent.report else ()
    if agent.report is not None and not is_in_one_of(wish.target, allowed):
        places = ", ".join(map(to_text, allowed)) or "nothing"
        raise InvalidJob(
            f"the policy of '{agent.name}' keeps {to_text(wish.target)} out; restores may go to"
            f" {places}"
        )
