"""Machines and repositories that are taken off the lists: a part of `fleet_contract`."""

from typing import Any

import pytest
from attrs import evolve

from backapp_core.errors import (
    AgentNotFound,
    NameTaken,
    RepositoryNotFound,
    StillInUse,
)
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.runs import RestoreOrder, Run, RunKind
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.tenants import TenantStore
from backapp_core.testing.fleet_fixtures import (
    LONG,
    OBJECTS,
    OURS,
    Machine,
    claimed,
    complete,
    hash_of,
    make_enrolment,
    make_machine,
    make_report,
    make_repository,
    make_snapshot,
    outcome_of,
    pass_time,
    sees_all,
)
from backapp_core.testing.fleet_people_contract import WithFleet
from backapp_core.testing.store_fixtures import HOSTILE, make_run


class RemovalContract(WithFleet):
    """What was removed is on no list, and what was written down of it stays."""

    def test_removed_repository_is_on_no_list_and_keeps_its_receipts(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """It is found by its id, and by its name; doing so again changes nothing."""
        machine = make_machine(fleet)
        machine.job()
        machine.run()
        work = ours.work(machine.id, sees_all)
        claim = claimed(work)
        receipt = work.acknowledge(claim.run.id, claim.fence, make_snapshot(), OBJECTS)
        work.finish(claim.fence, complete(claim))
        ours.jobs.remove("home")
        repositories, own = ours.repositories, machine.repository
        removed = repositories.remove(own.id)
        assert removed.removed_at is not None
        assert removed == evolve(own, removed_at=removed.removed_at)
        pass_time(fleet, removed.removed_at)
        assert repositories.remove(own.id) == removed
        assert list(repositories.list()) == []
        standing = repositories.standing(limit=9)
        assert (standing.all, standing.protected, standing.unprotected) == (0, 0, ())
        assert repositories.get(own.id) == repositories.get(own.name) == removed
        assert repositories.find([own.id]) == {own.id: removed}
        assert list(repositories.receipts(own.id)) == [receipt]
        assert list(repositories.receipts_after(own.id, 0)) == [receipt]
        assert list(repositories.snapshots(own.id)) == [make_snapshot()]

    def test_nothing_begins_to_need_a_removed_repository(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """No job, restore, lock or grant."""
        machine = make_machine(fleet)
        own = machine.repository
        job = machine.job(repository="/elsewhere")
        ours.repositories.remove(own.id)
        filling = evolve(job, repository=f"backapp:{own.id}")
        enforces = Enforcement(
            create_only=True, signed_length=True, content_md5=True, sha256_checksum=True
        )
        repositories = ours.repositories
        assert outcome_of(ours.jobs.add, evolve(filling, name="new")) is RepositoryNotFound
        assert outcome_of(ours.jobs.replace, filling) is RepositoryNotFound
        assert outcome_of(ours.runs.request, restore_of(machine)) is RepositoryNotFound
        assert outcome_of(repositories.add_locks, own.id, ["locks/a"]) is RepositoryNotFound
        take = repositories.take_init_grant
        assert outcome_of(take, own.id, "config", "a" * 64) is RepositoryNotFound
        assert outcome_of(repositories.record_enforcement, own.id, enforces) is RepositoryNotFound
        assert list(ours.jobs.list()) == [job]

    def test_repository_that_something_needs_stays(self, fleet: Fleet, ours: TenantStore) -> None:
        """A job that fills it, or a run that waits or goes on; each is named."""
        machine = make_machine(fleet)
        own, remove = machine.repository, ours.repositories.remove
        for name in ("home", "mail"):
            machine.job(name)
        with pytest.raises(StillInUse, match="'home', 'mail'"):
            remove(own.id)
        machine.run(1)
        work = ours.work(machine.id, sees_all)
        claim = claimed(work)
        for name in ("home", "mail"):
            ours.jobs.remove(name)
        with pytest.raises(StillInUse, match=claim.run.id[:8]):
            remove(own.id)
        work.finish(claim.fence, complete(claim))
        waiting = ours.runs.request(restore_of(machine))
        with pytest.raises(StillInUse, match=waiting.id[:8]):
            remove(own.id)
        ours.runs.wish_cancel(waiting.id)
        assert list(ours.repositories.list()) == [own]
        assert remove(own.id).removed_at is not None
        for word in [*HOSTILE, "f" * 32, own.name]:
            assert outcome_of(remove, word) is RepositoryNotFound

    def test_name_and_place_of_a_removed_repository_are_free(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """Whoever has the name now is found by it; those that had it are listed in parts."""
        machine = make_machine(fleet)
        place: dict[str, Any] = {"name": "attic", "address": "/srv", "is_local": True}
        had: list[ManagedRepository] = []
        for number in range(5, 9):
            assert not ours.repositories.is_folder_taken(machine.id, "/srv")
            one = make_repository(machine.id, number, **place)
            ours.repositories.add(one)
            assert ours.repositories.get("attic") == one
            assert ours.repositories.is_folder_taken(machine.id, "/srv")
            with pytest.raises(NameTaken):
                ours.repositories.add(evolve(one, id="9" * 32))
            had.append(ours.repositories.remove(one.id))
            removed_at = had[-1].removed_at
            assert removed_at is not None
            pass_time(fleet, removed_at)
        assert ours.repositories.get("attic") == had[-1]
        assert list(ours.repositories.removed()) == had
        for number, one in enumerate(had, start=1):
            assert list(ours.repositories.removed(after=one.id)) == had[number:]
            assert list(ours.repositories.removed(after=one.id, limit=1)) == had[number:][:1]
        assert list(ours.repositories.removed(limit=0)) == []
        for word in filter(None, HOSTILE):
            with pytest.raises(RepositoryNotFound):
                ours.repositories.removed(after=word)

    def test_machine_is_removed_once_it_can_do_nothing_and_has_nothing(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """Runs and receipts name it all the same, and its key is good for nothing."""
        machine = make_machine(fleet)
        ours.work(machine.id, sees_all).hello(make_report(), alive_seconds=LONG)
        remove = ours.agents.remove
        with pytest.raises(StillInUse, match="take it back"):
            remove(machine.id)
        ours.agents.revoke(machine.id)
        revoked = ours.agents.get(machine.id)
        with pytest.raises(StillInUse, match=machine.repository.name):
            remove(machine.id)
        assert list(ours.agents.list()) == [revoked]
        ours.repositories.remove(machine.repository.id)
        removed = remove(machine.id)
        assert removed.removed_at is not None
        assert removed == evolve(revoked, removed_at=removed.removed_at)
        pass_time(fleet, removed.removed_at)
        assert remove(machine.id) == removed == ours.agents.revoke(machine.id)
        assert list(ours.agents.list()) == []
        assert ours.agents.get(machine.id) == ours.agents.get("machine-1") == removed
        assert ours.agents.find([machine.id]) == {machine.id: removed}
        known = fleet.recognise(hash_of(machine.key))
        assert known is not None
        assert (known.agent, known.tenant_id) == (removed, OURS)
        ours.agents.allow(make_enrolment(fleet, 2, agent_name="machine-1"), hash_of("again"))
        new = fleet.enrol(hash_of("again"), "b" * 32, hash_of("new")).agent
        assert ours.agents.get("machine-1") == new
        assert list(ours.agents.list()) == [new]
        for word in [*HOSTILE, "f" * 32, "machine-1"]:
            assert outcome_of(remove, word) is AgentNotFound

    def test_repository_of_a_revoked_machine_is_given_to_another(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """With its jobs; its receipts stay, and the place is the other machine's."""
        lost, new = make_machine(fleet, 1), make_machine(fleet, 2)
        own, give = lost.repository, ours.repositories.hand_over
        folder = make_repository(lost.id, 5, address="/srv", is_local=True)
        ours.repositories.add(folder)
        job, other = lost.job(due_after=None), new.job("other")
        with pytest.raises(StillInUse, match=lost.known.agent.name):
            give(own.id, new.id)
        ours.agents.revoke(lost.id)
        before = fleet.now()
        given = give(own.id, new.id)
        assert given == evolve(own, agent_id=new.id) == ours.repositories.get(own.name)
        moved = ours.jobs.get("home")
        assert moved.due_after is not None
        assert before <= moved.due_after <= fleet.now()
        assert moved == evolve(job, agent_id=new.id, due_after=moved.due_after)
        assert ours.jobs.get("other") == other
        new.run(1)
        claim = claimed(ours.work(new.id, sees_all))
        assert (claim.job, claim.repository) == (moved, given)
        taken = make_repository(new.id, 6, address="/srv", is_local=True)
        ours.repositories.add(taken)
        with pytest.raises(NameTaken, match="/srv"):
            give(folder.id, new.id)
        ours.repositories.remove(taken.id)
        give(folder.id, new.id)
        assert ours.repositories.is_folder_taken(new.id, "/srv")
        assert not ours.repositories.is_folder_taken(lost.id, "/srv")

    def test_repository_is_given_to_a_machine_that_may_work(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """And one that was removed to nobody."""
        lost, new, other = (make_machine(fleet, number) for number in (1, 2, 3))
        give = ours.repositories.hand_over
        for machine in (lost, other):
            ours.agents.revoke(machine.id)
        for word in [*HOSTILE, "f" * 32, other.id, lost.id]:
            assert outcome_of(give, lost.repository.id, word) is AgentNotFound
        for word in [*HOSTILE, "f" * 32]:
            assert outcome_of(give, word, new.id) is RepositoryNotFound
        ours.repositories.remove(lost.repository.id)
        assert outcome_of(give, lost.repository.id, new.id) is RepositoryNotFound


def restore_of(machine: Machine) -> Run:
    """Return a restore from a machine's repository."""
    order = RestoreOrder(machine.repository.id, "5a" * 32, b"/restore")
    fields: dict[str, Any] = {"job_name": "", "kind": RunKind.RESTORE, "restore": order}
    return make_run(7, agent_id=machine.id, **fields)
