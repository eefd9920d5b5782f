"""Restores, and what of removed repositories machines see: a part of `work_contract`."""

import pytest

from backapp_core.errors import RepositoryNotFound
from backapp_core.model.runs import RestoreOrder, RunKind, RunState
from backapp_core.ports.work import Work
from backapp_core.testing.fleet_fixtures import (
    INSTANCE,
    LONG,
    Machine,
    claimed,
    complete,
    make_repository,
)
from backapp_core.testing.work_claims_contract import WithMachine


class RestoresContract(WithMachine):
    """Runs that are of a repository and of no job."""

    def test_what_is_to_be_restored_comes_with_the_claim(
        self, machine: Machine, work: Work
    ) -> None:
        """Whether or not a job fills the repository."""
        machine.store.jobs.remove("home")
        order = RestoreOrder(machine.repository.id, "f" * 64, b"/tmp/\xff", (b"/home/a",))
        machine.run(job_name="", kind=RunKind.RESTORE, restore=order)
        claim = claimed(work)
        assert claim.run.restore == order
        assert (claim.job, claim.repository) == (None, machine.repository)

    def test_restores_of_a_repository_are_one_at_a_time(self, machine: Machine, work: Work) -> None:
        """Beside a backup into the same repository, and whatever goes on in others."""
        other = make_repository(machine.id, 8)
        machine.store.repositories.add(other)
        for number, one in enumerate((machine.repository, machine.repository, other), start=1):
            order = RestoreOrder(one.id, "f" * 64, b"/tmp")
            machine.run(number, job_name="", kind=RunKind.RESTORE, restore=order)
        machine.run(4)
        begun = [claimed(work) for _ in range(3)]
        assert [int(one.run.id, 16) for one in begun] == [1, 3, 4]
        assert work.claim(INSTANCE, lease_seconds=LONG) is None
        work.finish(begun[0].fence, complete(begun[0]))
        assert int(claimed(work).run.id, 16) == 2

    def test_repository_that_was_removed_is_the_machines_no_more(
        self, machine: Machine, work: Work
    ) -> None:
        """And a run of a job that was removed before fails with the reason."""
        other = make_repository(machine.id, 8)
        machine.store.repositories.add(other)
        run = machine.run()
        machine.store.jobs.remove("home")
        machine.store.repositories.remove(machine.repository.id)
        assert list(work.repositories()) == [other]
        with pytest.raises(RepositoryNotFound):
            work.repository(machine.repository.id)
        with pytest.raises(RepositoryNotFound):
            work.confirm_sheet(machine.repository.id)
        with pytest.raises(RepositoryNotFound):
            work.report_created(machine.repository.id, "e" * 64)
        assert work.claim(INSTANCE, lease_seconds=LONG) is None
        assert machine.store.runs.get(run.id).state is RunState.FAILED
