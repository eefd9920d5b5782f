"""Nothing of one tenant is reachable for another: a part of `fleet_contract`.

For every method of every group of the port there is a case that names another tenant's things; a
new method without one fails.
"""

from collections.abc import Callable

import pytest
from attrs import evolve, frozen

from backapp_core.errors import (
    AgentNotFound,
    JobNotFound,
    RepositoryNotFound,
    RunNotFound,
    UserNotFound,
)
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.runs import RunState
from backapp_core.model.work import Hold, Question
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.managed_repositories import Repositories, RepositoryStanding
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.tenants import (
    Agents,
    AgentStanding,
    FleetJobs,
    FleetRuns,
    Questions,
    TenantStore,
    Users,
)
from backapp_core.testing.fleet_fixtures import (
    INSTANCE,
    LONG,
    OBJECTS,
    OURS,
    Machine,
    claimed,
    everything,
    hash_of,
    make_enrolment,
    make_machine,
    make_question,
    make_report,
    make_repository,
    make_snapshot,
    make_user,
    outcome_of,
    sees_all,
)
from backapp_core.testing.fleet_people_contract import WithFleet, make_invitation, make_token
from backapp_core.testing.store_fixtures import JOB, make_run


@frozen
class Owned:
    """Things of one tenant, one of each."""

    fleet: Fleet
    machine: Machine
    run_id: str
    user_id: str
    token_id: str
    question: Question

    @property
    def repository_id(self) -> str:
        """Of the managed repository."""
        return self.machine.repository.id


def _request_the_same(other: TenantStore, owned: Owned) -> None:
    run = make_run(7, agent_id=owned.machine.id)
    assert other.runs.request(run) == run


_Case = tuple[Callable[[TenantStore, Owned], object], object]

GROUPS: dict[str, type] = {
    "jobs": FleetJobs,
    "runs": FleetRuns,
    "users": Users,
    "agents": Agents,
    "repositories": Repositories,
    "questions": Questions,
}

# What another tenant calls with the things of the first, and what becomes of it: an error, or what
# is returned. What may be called the same in both is added beside it.
CASES: dict[str, _Case] = {
    "jobs.add": (lambda other, _: other.jobs.add(evolve(JOB, name="theirs")), None),
    "jobs.get": (lambda other, _: other.jobs.get("home"), JobNotFound),
    "jobs.list": (lambda other, _: list(other.jobs.list()), []),
    "jobs.count": (lambda other, _: other.jobs.count(), 0),
    "jobs.filling": (lambda other, it: list(other.jobs.filling(it.repository_id, limit=9)), []),
    "jobs.replace": (lambda other, _: other.jobs.replace(JOB), JobNotFound),
    "jobs.remove": (lambda other, _: other.jobs.remove("home"), JobNotFound),
    "runs.add": (
        lambda other, it: other.runs.add(it.machine.store.runs.get(it.run_id)),
        None,
    ),
    "runs.move": (
        lambda other, it: other.runs.move(
            it.machine.store.runs.get(it.run_id).cancel(at=it.fleet.now()),
            from_state=RunState.RUNNING,
        ),
        RunNotFound,
    ),
    "runs.get": (lambda other, it: other.runs.get(it.run_id), RunNotFound),
    "runs.list": (lambda other, _: list(other.runs.list(RunFilter())), []),
    "runs.add_events": (lambda other, it: other.runs.add_events(it.run_id, []), RunNotFound),
    "runs.events": (lambda other, it: other.runs.events(it.run_id), RunNotFound),
    "runs.request": (_request_the_same, None),
    "runs.wish_cancel": (lambda other, it: other.runs.wish_cancel(it.run_id), RunNotFound),
    "runs.progress": (lambda other, it: other.runs.progress(it.run_id), RunNotFound),
    "runs.events_after": (lambda other, it: other.runs.events_after(it.run_id, 0), RunNotFound),
    "runs.latest_of_jobs": (lambda other, _: dict(other.runs.latest_of_jobs(["home"])), {}),
    "users.get": (lambda other, it: other.users.get(it.user_id), UserNotFound),
    "users.list": (lambda other, _: list(other.users.list()), []),
    "users.replace": (
        lambda other, it: other.users.replace(make_user(id=it.user_id, name="theirs")),
        UserNotFound,
    ),
    "users.set_password": (
        lambda other, it: other.users.set_password(it.user_id, "theirs"),
        UserNotFound,
    ),
    "users.invite": (
        lambda other, it: other.users.invite(make_invitation(it.fleet), hash_of("theirs")),
        None,
    ),
    "users.invitations": (lambda other, _: list(other.users.invitations()), []),
    "users.add_api_token": (
        lambda other, it: other.users.add_api_token(make_token(it.user_id), hash_of("theirs")),
        UserNotFound,
    ),
    "users.api_tokens": (lambda other, it: list(other.users.api_tokens(it.user_id)), []),
    "users.remove_api_token": (
        lambda other, it: other.users.remove_api_token(it.user_id, it.token_id),
        None,
    ),
    "agents.get": (lambda other, it: other.agents.get(it.machine.id), AgentNotFound),
    "agents.list": (lambda other, _: list(other.agents.list()), []),
    "agents.find": (lambda other, it: dict(other.agents.find([it.machine.id])), {}),
    "agents.standing": (
        lambda other, _: other.agents.standing(alive_seconds=LONG, limit=9),
        AgentStanding(0, 0, ()),
    ),
    "agents.allow": (
        lambda other, it: other.agents.allow(
            make_enrolment(it.fleet, 9, agent_name=it.machine.known.agent.name),
            hash_of("their machine"),
        ),
        None,
    ),
    "agents.enrolments": (lambda other, _: list(other.agents.enrolments()), []),
    "agents.revoke": (lambda other, it: other.agents.revoke(it.machine.id), AgentNotFound),
    "agents.remove": (lambda other, it: other.agents.remove(it.machine.id), AgentNotFound),
    "runs.holding": (
        lambda other, it: other.runs.holding(it.machine.id, Hold(it.run_id, 1)),
        RunNotFound,
    ),
    "repositories.add": (
        lambda other, it: other.repositories.add(make_repository(it.machine.id, 9)),
        AgentNotFound,
    ),
    "repositories.get": (
        lambda other, it: other.repositories.get(it.repository_id),
        RepositoryNotFound,
    ),
    "repositories.list": (lambda other, _: list(other.repositories.list()), []),
    "repositories.removed": (lambda other, _: list(other.repositories.removed()), []),
    "repositories.remove": (
        lambda other, it: other.repositories.remove(it.repository_id),
        RepositoryNotFound,
    ),
    "repositories.hand_over": (
        lambda other, it: other.repositories.hand_over(it.repository_id, it.machine.id),
        AgentNotFound,
    ),
    "repositories.find": (
        lambda other, it: dict(other.repositories.find([it.repository_id])),
        {},
    ),
    "repositories.standing": (
        lambda other, _: other.repositories.standing(limit=9),
        RepositoryStanding(0, 0, ()),
    ),
    "repositories.is_folder_taken": (
        lambda other, it: other.repositories.is_folder_taken(it.machine.id, "/srv/backup"),
        False,
    ),
    "repositories.record_enforcement": (
        lambda other, it: other.repositories.record_enforcement(
            it.repository_id,
            Enforcement(
                create_only=True, signed_length=True, content_md5=True, sha256_checksum=True
            ),
        ),
        RepositoryNotFound,
    ),
    "repositories.take_init_grant": (
        lambda other, it: other.repositories.take_init_grant(it.repository_id, "config", "a" * 64),
        RepositoryNotFound,
    ),
    "repositories.add_locks": (
        lambda other, it: other.repositories.add_locks(it.repository_id, ["locks/b"]),
        RepositoryNotFound,
    ),
    "repositories.owns_locks": (
        lambda other, it: other.repositories.owns_locks(it.repository_id, ["locks/a"]),
        False,
    ),
    "repositories.receipts": (
        lambda other, it: other.repositories.receipts(it.repository_id),
        RepositoryNotFound,
    ),
    "repositories.receipts_after": (
        lambda other, it: other.repositories.receipts_after(it.repository_id, 0),
        RepositoryNotFound,
    ),
    "repositories.snapshots": (
        lambda other, it: other.repositories.snapshots(it.repository_id),
        RepositoryNotFound,
    ),
    "repositories.snapshot": (
        lambda other, it: other.repositories.snapshot(it.repository_id, make_snapshot().id),
        RepositoryNotFound,
    ),
    "repositories.latest_snapshots": (
        lambda other, it: list(
            other.repositories.latest_snapshots([it.repository_id], each=5).values()
        ),
        [()],
    ),
    "questions.ask": (
        lambda other, it: other.questions.ask(evolve(it.question, id="9" * 32)),
        AgentNotFound,
    ),
    "questions.get": (lambda other, it: other.questions.get(it.question.id), None),
}
# What may be added beside comes last, so that the others do not find it.
_IN_ORDER = sorted(CASES, key=lambda name: (CASES[name][1] is None, name))


class TenantsApart(WithFleet):
    """What belongs to one tenant is not found, changed or listed by another."""

    @pytest.fixture
    def owned(self, fleet: Fleet) -> Owned:
        """One of each thing, of the first tenant."""
        machine = make_machine(fleet)
        store = machine.store
        machine.job()
        run = machine.run()
        work = store.work(machine.id, sees_all)
        work.hello(make_report(INSTANCE), alive_seconds=LONG)
        claim = claimed(work)
        work.acknowledge(run.id, claim.fence, make_snapshot(), OBJECTS)
        user = fleet.register(OURS, make_user(), "hash").user
        token = make_token(user.id)
        store.users.add_api_token(token, hash_of("token"))
        store.users.invite(make_invitation(fleet), hash_of("link"))
        store.agents.allow(make_enrolment(fleet, 8), hash_of("another machine"))
        store.repositories.add_locks(machine.repository.id, ["locks/a"])
        machine.run(2)  # waits
        question = make_question(fleet, machine)
        store.questions.ask(question)
        return Owned(fleet, machine, run.id, user.id, token.id, question)

    def test_every_method_of_every_group_has_a_case(self) -> None:
        """So that a new method, or a new group, cannot be left out below."""
        groups = set(TenantStore.__annotations__) - {"tenant"}
        assert groups == set(GROUPS)
        methods = {
            f"{group}.{method}"
            for group, port in GROUPS.items()
            for method in vars(port).get("__abstractmethods__", ())
        }
        assert methods == set(CASES)

    def test_things_of_one_tenant_cannot_be_had_by_another(
        self, fleet: Fleet, owned: Owned
    ) -> None:
        """By no method, and nothing of them changes."""
        other = fleet.tenant(fleet.add_tenant("other").id)
        before = everything(owned.machine)
        login = fleet.login(make_user().email)
        for name in _IN_ORDER:
            call, outcome = CASES[name]
            assert outcome_of(call, other, owned) == outcome, name
            assert everything(owned.machine) == before, name
        assert fleet.login(make_user().email) == login
        assert not owned.machine.store.repositories.owns_locks(owned.repository_id, ["locks/b"])
        grant = owned.machine.store.repositories.take_init_grant
        assert grant(owned.repository_id, "config", "c" * 64)

    def test_people_and_machines_come_to_the_tenant_that_let_them_in(
        self, fleet: Fleet, owned: Owned
    ) -> None:
        """Also when ids and names are the same in both."""
        tenant = fleet.add_tenant("other")
        other = fleet.tenant(tenant.id)
        other.users.invite(make_invitation(fleet), hash_of("their link"))
        user = make_user(2, id=owned.user_id)
        assert fleet.join(hash_of("their link"), user, "hash").tenant_id == tenant.id
        token = make_enrolment(fleet, 1, agent_name=owned.machine.known.agent.name)
        other.agents.allow(token, hash_of("their token"))
        known = fleet.enrol(hash_of("their token"), owned.machine.id, hash_of("their key"))
        assert (known.tenant_id, known.agent.name) == (tenant.id, owned.machine.known.agent.name)
        assert [one.email for one in other.users.list()] == [user.email]
        assert [one.id for one in other.agents.list()] == [owned.machine.id]
        other.agents.revoke(owned.machine.id)
        assert owned.machine.store.agents.get(owned.machine.id).revoked_at is None
        assert owned.machine.store.runs.get(owned.run_id).state is RunState.RUNNING
