"""Who may change something for a run: a part of `work_contract`."""

from datetime import timedelta

import pytest

from backapp_core.errors import LeaseLost, RunNotFound
from backapp_core.model.work import Hold
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.work import Work
from backapp_core.testing.fleet_fixtures import (
    LONG,
    OTHER_INSTANCE,
    SHORT,
    Machine,
    claimed,
    complete,
    let_lapse,
    make_machine,
)
from backapp_core.testing.store_fixtures import HOSTILE
from backapp_core.testing.work_claims_contract import WithMachine


class HoldingContract(WithMachine):
    """Who may change something for a run, as the server asks it at every request."""

    def test_run_that_was_claimed_is_held_by_the_stores_clock(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        """What is left is never more than was asked for, and grows when it is renewed."""
        machine.run()
        claim = claimed(work, lease_seconds=LONG / 2)
        hold = Hold(claim.run.id, claim.fence)
        before = fleet.now()
        held = machine.store.runs.holding(machine.id, hold)
        until = claim.lease_until
        assert until - fleet.now() <= timedelta(seconds=held.left_seconds) <= until - before
        assert held.repository_id == machine.repository.id
        work.renew(claim.run.id, claim.fence, lease_seconds=LONG)
        assert LONG / 2 < machine.store.runs.holding(machine.id, hold).left_seconds <= LONG

    def test_lease_that_is_over_holds_nothing_until_it_is_renewed(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        """Although nobody else has taken the run over yet."""
        machine.run()
        claim = claimed(work, lease_seconds=SHORT)
        let_lapse(fleet, claim)
        hold = Hold(claim.run.id, claim.fence)
        with pytest.raises(LeaseLost, match=claim.run.id[:8]):
            machine.store.runs.holding(machine.id, hold)
        work.renew(claim.run.id, claim.fence, lease_seconds=LONG)
        assert machine.store.runs.holding(machine.id, hold).left_seconds > 0

    def test_older_fence_holds_nothing(self, fleet: Fleet, machine: Machine, work: Work) -> None:
        machine.run()
        old = claimed(work, lease_seconds=SHORT)
        let_lapse(fleet, old)
        new = claimed(work, instance=OTHER_INSTANCE)
        holding = machine.store.runs.holding
        for fence in (old.fence, new.fence + 1, 0, -1):
            with pytest.raises(LeaseLost, match=new.run.id[:8]):
                holding(machine.id, Hold(new.run.id, fence))
        assert holding(machine.id, Hold(new.run.id, new.fence)).left_seconds > 0

    def test_run_that_is_not_under_way_is_held_by_nobody(
        self, machine: Machine, work: Work
    ) -> None:
        """Neither before it is claimed, nor after it was handed back or has ended."""
        run = machine.run()
        holding = machine.store.runs.holding
        with pytest.raises(LeaseLost):
            holding(machine.id, Hold(run.id, 0))
        claim = claimed(work)
        work.hand_back(claim.run.id, claim.fence)
        with pytest.raises(LeaseLost):
            holding(machine.id, Hold(run.id, claim.fence))
        claim = claimed(work)
        work.finish(claim.fence, complete(claim))
        with pytest.raises(LeaseLost):
            holding(machine.id, Hold(run.id, claim.fence))

    def test_run_of_another_machine_is_held_by_nobody_else(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        machine.run()
        claim = claimed(work)
        other = make_machine(fleet, 2)
        for run_id in (claim.run.id, "f" * 32, *HOSTILE):
            with pytest.raises(RunNotFound) as refused:
                machine.store.runs.holding(other.id, Hold(run_id, claim.fence))
            assert refused.value.message.isprintable()
