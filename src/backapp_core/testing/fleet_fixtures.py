"""People, machines and their repositories for stores of servers, and how tests wait for leases."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from backapp_core.clock import SystemClock
from backapp_core.errors import BackappError, ObjectMissing
from backapp_core.model.agents import AgentReport, EnrolmentToken
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import SCHEME, ManagedRepository
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.users import Role, User
from backapp_core.model.work import Claim, Question, QuestionKind
from backapp_core.ports.fleet import Fleet, KnownAgent
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.tenants import TenantStore, Witness
from backapp_core.ports.work import Work
from backapp_core.testing.store_fixtures import AT, COUNTS, make_run
from backapp_core.wire import AGENT_KEY_PREFIX

OURS = 1
"""The tenant that every store has."""
LONG = 600.0
"""Seconds of a lease that no test outlasts."""
SHORT = 0.05
"""Seconds of a lease that a test waits for."""
INSTANCE = "1" * 32
OTHER_INSTANCE = "2" * 32
OBJECTS = (ObjectSeen("data/" + "a" * 64, 1000), ObjectSeen("index/" + "b" * 64, 24))
_PAUSE_SECONDS = 0.005
_clock = SystemClock()


@frozen
class Machine:
    """An enrolled machine with a repository."""

    known: KnownAgent
    key: str
    """What it shows to be recognised."""
    store: TenantStore
    repository: ManagedRepository

    @property
    def id(self) -> str:
        """Its id."""
        return self.known.agent.id

    def job(self, name: str = "home", **fields: Any) -> Job:
        """Add a job of this machine's and return it."""
        repository = f"{SCHEME}:{self.repository.id}"
        added = Job(name, repository, (b"/home",), agent_id=self.id)
        added = evolve(added, **fields)
        self.store.jobs.add(added)
        return added

    def run(self, number: int = 1, **fields: Any) -> Run:
        """Request a run of this machine's and return it; later numbers are requested later."""
        at = AT + timedelta(seconds=number)
        run = make_run(number, **{"agent_id": self.id, "requested_at": at, **fields})
        self.store.runs.add(run)
        return run


OpenWork = Callable[[Machine, Witness], Work]
"""Returns what a machine may ask for; the witness looks into buckets."""


def hash_of(text: str) -> str:
    """Return what a store knows a token, key or session by."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_user(number: int = 1, **fields: Any) -> User:
    """Return an administrator with an id and an address made of ``number``."""
    user = User(f"{number:032x}", f"user{number}@example.org", f"User {number}", Role.ADMIN, AT)
    return evolve(user, **fields)


def make_repository(agent_id: str, number: int = 1, **fields: Any) -> ManagedRepository:
    """Return a repository in a bucket with an id, name and address made of ``number``."""
    repository = ManagedRepository(
        id=f"{number:032x}",
        name=f"repository-{number}",
        agent_id=agent_id,
        address=f"s3://bucket/{number}",
        is_local=False,
        created_at=AT,
    )
    return evolve(repository, **fields)


def make_enrolment(fleet: Fleet, number: int = 1, **fields: Any) -> EnrolmentToken:
    """Return a token that lets a machine join within an hour."""
    now = fleet.now()
    token = EnrolmentToken(f"{number:032x}", f"machine-{number}", "", now, now + timedelta(hours=1))
    return evolve(token, **fields)


def make_machine(fleet: Fleet, number: int = 1, *, tenant_id: int = OURS) -> Machine:
    """Enrol a machine with an id, name, key and repository made of ``number``."""
    store = fleet.tenant(tenant_id)
    token, key = f"token {number}", f"{AGENT_KEY_PREFIX}{number:064x}"
    store.agents.allow(make_enrolment(fleet, number), hash_of(token))
    known = fleet.enrol(hash_of(token), f"{0xA << 64 | number:032x}", hash_of(key))
    repository = make_repository(known.agent.id, number)
    store.repositories.add(repository)
    return Machine(known, key, store, repository)


def make_report(instance: str = INSTANCE, **fields: Any) -> AgentReport:
    """Return what a machine says of itself."""
    report = AgentReport(instance, "0.1", "host", "Linux", roots=(b"/home", b"/srv/\xff"))
    return evolve(report, **fields)


def make_snapshot(number: int = 1, **fields: Any) -> Snapshot:
    """Return a snapshot with an id made of ``number``; later numbers are taken later."""
    at = AT + timedelta(seconds=number)
    snapshot = Snapshot(f"{number:064x}", at, "host", "root", (b"/home/\xff",), counts=COUNTS)
    return evolve(snapshot, **fields)


def sees_all(repository: ManagedRepository, objects: Sequence[ObjectSeen]) -> None:
    """Find every object where it should be."""
    del repository, objects


def sees_nothing(repository: ManagedRepository, objects: Sequence[ObjectSeen]) -> None:
    """Find none.

    Raises:
        ObjectMissing: Names the first.
    """
    raise ObjectMissing(f"{objects[0].name} is not in {repository.address}")


def complete(claim: Claim, **fields: Any) -> Run:
    """Return the run that was claimed as it ends well."""
    ended = claim.run.complete(at=AT + timedelta(days=1), snapshot_id="f" * 64, counts=COUNTS)
    return evolve(ended, **fields)


def claimed(work: Work, *, lease_seconds: float = LONG, instance: str = INSTANCE) -> Claim:
    """Return what the machine is given to do; there has to be something."""
    claim = work.claim(instance, lease_seconds=lease_seconds)
    assert claim is not None
    return claim


def pass_time(fleet: Fleet, until: datetime) -> None:
    """Return once the store's clock is past ``until``."""
    while fleet.now() <= until:
        _clock.wait(_PAUSE_SECONDS)


def let_lapse(fleet: Fleet, claim: Claim) -> None:
    """Return once the lease of a claim is over."""
    pass_time(fleet, claim.lease_until)


def make_question(fleet: Fleet, machine: Machine, number: int = 1, **fields: Any) -> Question:
    """Return a question to a machine, which somebody waits for some minutes."""
    now = fleet.now()
    details = {"repository_id": machine.repository.id}
    question = Question(
        f"{number:032x}",
        machine.id,
        QuestionKind.SNAPSHOTS,
        details,
        asked_at=now,
        expires_at=now + timedelta(minutes=5),
    )
    return evolve(question, **fields)


def everything(machine: Machine) -> dict[str, Any]:
    """Return what a tenant owns, and of a machine's first repository what it remembers."""
    store, repository_id = machine.store, machine.repository.id
    runs = store.runs.list(RunFilter(limit=1000))
    users = store.users.list()
    return {
        "jobs": store.jobs.list(),
        "runs": runs,
        "events": [store.runs.events(run.id) for run in runs],
        "progress": [store.runs.progress(run.id) for run in runs],
        "users": users,
        "tokens": [store.users.api_tokens(user.id) for user in users],
        "invitations": store.users.invitations(),
        "machines": [agent.name for agent in store.agents.list()],
        "agent": store.agents.get(machine.id),
        "enrolments": store.agents.enrolments(),
        "repositories": store.repositories.list(),
        "receipts": store.repositories.receipts(repository_id),
        "snapshots": store.repositories.snapshots(repository_id),
        "question": store.questions.get(f"{1:032x}"),
    }


def outcome_of(call: Callable[..., object], *arguments: Any) -> object:
    """Return what a call returns, or the class of what it raises."""
    try:
        return call(*arguments)
    except BackappError as error:
        return type(error)
