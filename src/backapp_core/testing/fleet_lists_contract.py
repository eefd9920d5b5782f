"""Lists in parts, things by their ids, and how many there are: a part of `fleet_contract`."""

import pytest
from attrs import evolve

from backapp_core.errors import AgentNotFound
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.tenants import TenantStore
from backapp_core.testing.fleet_fixtures import (
    LONG,
    hash_of,
    make_enrolment,
    make_machine,
    make_report,
    make_repository,
    sees_all,
)
from backapp_core.testing.fleet_people_contract import WithFleet
from backapp_core.testing.store_fixtures import HOSTILE


class ListsContract(WithFleet):
    """Whoever shows a page reads no more than a page."""

    def test_machines_are_had_in_parts_by_id_and_counted(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """Revoked ones are listed and not counted, also where another has the name now."""
        machines = [make_machine(fleet, number) for number in (1, 2, 3)]
        ours.agents.revoke(machines[0].id)
        ours.agents.allow(make_enrolment(fleet, 9, agent_name="machine-1"), hash_of("again"))
        fleet.enrol(hash_of("again"), "c" * 32, hash_of("another key"))
        machines[1].store.work(machines[1].id, sees_all).hello(make_report(), alive_seconds=LONG)
        listed = list(ours.agents.list())
        assert [one.name for one in listed] == [f"machine-{n}" for n in (1, 1, 2, 3)]
        for place, agent in enumerate(listed):
            assert list(ours.agents.list(after=agent.id)) == listed[place + 1 :]
            assert list(ours.agents.list(after=agent.id, limit=1)) == listed[place + 1 :][:1]
        for word in filter(None, HOSTILE):
            with pytest.raises(AgentNotFound):
                ours.agents.list(after=word)
        ids = [listed[0].id, listed[3].id, "9" * 32, *HOSTILE]
        assert dict(ours.agents.find(ids)) == {one.id: one for one in (listed[0], listed[3])}
        standing = ours.agents.standing(alive_seconds=LONG, limit=9)
        assert (standing.enrolled, standing.online) == (3, 1)
        assert standing.silent == (listed[1], listed[3])
        assert ours.agents.standing(alive_seconds=LONG, limit=1).silent == (listed[1],)

    def test_jobs_of_a_repository_are_found_and_all_are_counted(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """Also after they were changed."""
        machine = make_machine(fleet)
        for name in ("b", "a", "c"):
            machine.job(name)
        own = machine.repository.id
        assert [job.name for job in ours.jobs.filling(own, limit=2)] == ["a", "b"]
        ours.jobs.replace(evolve(ours.jobs.get("a"), repository="/elsewhere"))
        assert [job.name for job in ours.jobs.filling(own, limit=9)] == ["b", "c"]
        assert ours.jobs.count() == 3
        for word in ("", *HOSTILE):
            assert not ours.jobs.filling(word, limit=9)

    def test_repositories_are_had_in_parts_by_id_and_counted(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """What is protected is counted as soon as it is."""
        machine = make_machine(fleet, 0)
        for number in range(1, 5):
            ours.repositories.add(make_repository(machine.id, number))
        names = [f"repository-{number}" for number in range(5)]
        for after in ("", "repository-1", "repository-10", "z", *HOSTILE):
            for limit in (None, 0, 2):
                found = [one.name for one in ours.repositories.list(after=after, limit=limit)]
                assert found == [name for name in names if name > after][:limit]
        one = machine.repository
        assert dict(ours.repositories.find([one.id, "9" * 32, *HOSTILE])) == {one.id: one}
        sees_all_of_it = machine.store.work(machine.id, sees_all)
        sees_all_of_it.confirm_sheet(one.id)
        standing = ours.repositories.standing(limit=2)
        assert (standing.all, standing.protected) == (5, 1)
        assert [some.name for some in standing.unprotected] == names[1:3]

    def test_folder_of_a_machine_is_taken_or_free(self, fleet: Fleet, ours: TenantStore) -> None:
        """Names of folders are any text."""
        machine, other = make_machine(fleet, 1), make_machine(fleet, 2)
        for number, folder in enumerate(("/srv", "/srv/\udcff"), start=5):
            assert not ours.repositories.is_folder_taken(machine.id, folder)
            ours.repositories.add(
                make_repository(machine.id, number, address=folder, is_local=True)
            )
            assert ours.repositories.is_folder_taken(machine.id, folder)
            assert not ours.repositories.is_folder_taken(other.id, folder)
