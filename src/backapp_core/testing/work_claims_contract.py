"""Being in touch, claims, leases and fences: a part of `work_contract`."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from backapp_core.errors import (
    AgentRunning,
    IllegalTransition,
    LeaseLost,
)
from backapp_core.events import Level, LogLine, Progress, Verb
from backapp_core.model.runs import RunKind, RunState
from backapp_core.model.work import Claim
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.work import Work
from backapp_core.testing.fleet_fixtures import (
    INSTANCE,
    LONG,
    OBJECTS,
    OTHER_INSTANCE,
    SHORT,
    Machine,
    OpenWork,
    claimed,
    complete,
    let_lapse,
    make_machine,
    make_report,
    make_snapshot,
    pass_time,
    sees_all,
)
from backapp_core.testing.store_fixtures import AT

_LINE = (AT, LogLine(Level.INFO, "hello \u202e"))


class WithMachine:
    """Fixtures of everything below."""

    @pytest.fixture
    def fleet(self) -> Fleet:
        """An empty store of a server."""
        raise NotImplementedError

    @pytest.fixture
    def open_work(self) -> OpenWork:
        """How a machine reaches its part of the store."""
        return lambda machine, witness: machine.store.work(machine.id, witness)

    @pytest.fixture
    def machine(self, fleet: Fleet) -> Machine:
        """A machine with a job called home."""
        machine = make_machine(fleet)
        machine.job()
        return machine

    @pytest.fixture
    def work(self, machine: Machine, open_work: OpenWork) -> Work:
        """The machine's part of the store; every object is where it should be."""
        return open_work(machine, sees_all)


class PresenceContract(WithMachine):
    """Being in touch."""

    def test_machine_that_said_hello_is_seen(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        before = fleet.now()
        orders = work.hello(make_report(), alive_seconds=LONG)
        agent = machine.store.agents.get(machine.id)
        assert agent.report == make_report()
        assert agent.last_seen_at is not None
        assert before <= agent.last_seen_at <= orders.now <= fleet.now()
        assert not orders.has_work
        assert not orders.has_questions

    def test_hello_says_what_there_is_to_do(self, machine: Machine, work: Work) -> None:
        machine.run()
        assert work.hello(make_report(), alive_seconds=LONG).has_work
        claimed(work)
        assert not work.hello(make_report(), alive_seconds=LONG).has_work

    def test_second_process_with_the_same_key_is_refused(
        self, machine: Machine, work: Work
    ) -> None:
        work.hello(make_report(), alive_seconds=LONG)
        other = make_report(OTHER_INSTANCE, hostname="other")
        with pytest.raises(AgentRunning, match=machine.known.agent.name):
            work.hello(other, alive_seconds=LONG)
        assert machine.store.agents.get(machine.id).report == make_report()
        work.hello(make_report(), alive_seconds=LONG)

    def test_second_process_takes_the_place_of_a_silent_one(self, fleet: Fleet, work: Work) -> None:
        seen = work.hello(make_report(), alive_seconds=LONG).now
        pass_time(fleet, seen + timedelta(seconds=SHORT))
        work.hello(make_report(OTHER_INSTANCE), alive_seconds=SHORT)
        with pytest.raises(AgentRunning):
            work.hello(make_report(), alive_seconds=LONG)

    def test_after_goodbye_another_need_not_wait(self, work: Work) -> None:
        work.hello(make_report(), alive_seconds=LONG)
        work.goodbye(OTHER_INSTANCE)
        with pytest.raises(AgentRunning):
            work.hello(make_report(OTHER_INSTANCE), alive_seconds=LONG)
        work.goodbye(INSTANCE)
        work.hello(make_report(OTHER_INSTANCE), alive_seconds=LONG)

    def test_machine_has_left_from_its_goodbye_to_the_next_hello(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        within = timedelta(seconds=LONG)

        def has_left() -> bool:
            agent = machine.store.agents.get(machine.id)
            assert agent.is_online(at=fleet.now(), within=within) is not agent.has_left
            standing = machine.store.agents.standing(alive_seconds=LONG, limit=9)
            assert standing.online == (not agent.has_left)
            assert len(standing.silent) == agent.has_left
            return agent.has_left

        work.hello(make_report(), alive_seconds=LONG)
        assert not has_left()
        work.goodbye(OTHER_INSTANCE)
        assert not has_left()
        work.goodbye(INSTANCE)
        assert has_left()
        work.hello(make_report(OTHER_INSTANCE), alive_seconds=LONG)
        assert not has_left()


class ClaimContract(WithMachine):
    """Who runs what."""

    def test_nothing_to_do_is_nothing(self, work: Work) -> None:
        assert work.claim(INSTANCE, lease_seconds=LONG) is None

    def test_claim_says_everything_that_the_run_needs(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        run = machine.run()
        before = fleet.now()
        claim = claimed(work, lease_seconds=LONG)
        assert claim.run.started_at is not None
        assert claim.run == run.start(at=claim.run.started_at)
        assert before <= claim.run.started_at <= fleet.now()
        assert claim.lease_until - timedelta(seconds=LONG) <= fleet.now()
        assert claim.lease_until > fleet.now()
        assert (claim.job, claim.repository) == (machine.store.jobs.get("home"), machine.repository)
        assert (claim.lease_seconds, claim.fence > 0) == (LONG, True)
        assert machine.store.runs.get(run.id) == claim.run

    def test_run_that_waited_longest_comes_first(self, machine: Machine, work: Work) -> None:
        for number in (3, 1, 2):
            machine.job(f"job-{number}")
            machine.run(number, job_name=f"job-{number}")
        assert [claimed(work).run.job_name for _ in range(3)] == ["job-1", "job-2", "job-3"]

    def test_job_runs_once_at_a_time(self, machine: Machine, work: Work) -> None:
        machine.run(1)
        machine.run(2)
        first = claimed(work)
        assert work.claim(INSTANCE, lease_seconds=LONG) is None
        work.finish(first.fence, complete(first))
        assert claimed(work).run.id != first.run.id

    def test_each_of_many_claims_is_another_run(self, machine: Machine, work: Work) -> None:
        """Also those of eight threads at once."""
        for number in range(12):
            machine.job(f"job-{number}")
            machine.run(number, job_name=f"job-{number}")
        barrier = threading.Barrier(8)

        def claim_some(_: int) -> list[str]:
            barrier.wait(30)
            found: list[str] = []
            while (claim := work.claim(INSTANCE, lease_seconds=LONG)) is not None:
                found.append(claim.run.id)
            return found

        with ThreadPoolExecutor(8) as threads:
            ids = [one for found in threads.map(claim_some, range(8)) for one in found]
        assert len(ids) == len(set(ids)) == 12

    def test_of_many_that_ask_for_one_job_one_gets_it(self, machine: Machine, work: Work) -> None:
        for number in range(4):
            machine.run(number)
        barrier = threading.Barrier(4)

        def claim_one(_: int) -> bool:
            barrier.wait(30)
            return work.claim(INSTANCE, lease_seconds=LONG) is not None

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(claim_one, range(4))).count(True) == 1

    def test_run_of_a_dead_process_is_taken_over(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        machine.run()
        first = claimed(work, lease_seconds=SHORT)
        let_lapse(fleet, first)
        assert work.hello(make_report(), alive_seconds=LONG).has_work
        second = claimed(work, instance=OTHER_INSTANCE)
        assert second.run == first.run
        assert second.fence > first.fence

    def test_lease_that_lapsed_holds_until_somebody_takes_over(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        machine.run()
        claim = claimed(work, lease_seconds=SHORT)
        let_lapse(fleet, claim)
        renewal = work.renew(claim.run.id, claim.fence, lease_seconds=LONG)
        assert renewal.lease_until > claim.lease_until
        assert work.claim(OTHER_INSTANCE, lease_seconds=LONG) is None

    def test_run_that_was_handed_back_may_be_claimed_at_once(
        self, machine: Machine, work: Work
    ) -> None:
        machine.run()
        first = claimed(work)
        work.hand_back(first.run.id, first.fence)
        work.hand_back(first.run.id, first.fence)
        with pytest.raises(LeaseLost):
            work.renew(first.run.id, first.fence, lease_seconds=LONG)
        second = claimed(work)
        assert (second.run, second.fence > first.fence) == (first.run, True)
        with pytest.raises(LeaseLost):
            work.hand_back(first.run.id, first.fence)

    def test_cancelled_run_is_not_claimed(self, machine: Machine, work: Work) -> None:
        run = machine.run()
        machine.store.runs.wish_cancel(run.id)
        assert work.claim(INSTANCE, lease_seconds=LONG) is None

    def test_wish_to_cancel_is_seen_when_renewing(self, machine: Machine, work: Work) -> None:
        machine.run()
        claim = claimed(work)
        assert not work.renew(claim.run.id, claim.fence, lease_seconds=LONG).is_cancel_wished
        wished = machine.store.runs.wish_cancel(claim.run.id)
        assert wished.state is RunState.RUNNING
        assert work.renew(claim.run.id, claim.fence, lease_seconds=LONG).is_cancel_wished
        work.finish(claim.fence, claim.run.cancel(at=AT))
        ended = machine.store.runs.get(claim.run.id)
        assert (ended.state, ended.cancel_wished_at) == (
            RunState.CANCELLED,
            wished.cancel_wished_at,
        )

    def test_run_whose_job_is_gone_fails_and_the_next_one_is_given(
        self, machine: Machine, work: Work
    ) -> None:
        run = machine.run(1)
        machine.store.jobs.remove("home")
        machine.job("other")
        machine.run(2, job_name="other")
        assert claimed(work).run.job_name == "other"
        failed = machine.store.runs.get(run.id)
        assert failed.state is RunState.FAILED
        assert "home" in failed.error

    def test_run_into_what_is_no_repository_of_the_machine_fails(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        theirs = make_machine(fleet, 2).repository
        for number, address in enumerate((f"backapp:{theirs.id}", "backapp:", "/srv/backup")):
            machine.job(f"job-{number}", repository=address)
            machine.run(number, job_name=f"job-{number}")
        assert work.claim(INSTANCE, lease_seconds=LONG) is None
        for number in range(3):
            assert machine.store.runs.get(f"{number:032x}").state is RunState.FAILED


class RunningContract(WithMachine):
    """What is told of a run while somebody has it."""

    def test_reports_are_appended_and_progress_is_replaced(
        self, machine: Machine, work: Work
    ) -> None:
        machine.run()
        claim = claimed(work)
        for done in (1, 2):
            work.report(
                claim.run.id, claim.fence, [_LINE], Progress(Verb.BACKUP, done, 0, current=b"\xff")
            )
        work.report(claim.run.id, claim.fence, [])
        runs = machine.store.runs
        assert runs.progress(claim.run.id) == Progress(Verb.BACKUP, 2, 0, current=b"\xff")
        assert list(runs.events(claim.run.id)) == [_LINE, _LINE]
        assert list(runs.events_after(claim.run.id, 1)) == [(2, *_LINE)]

    @pytest.mark.parametrize("how", ["complete", "fail", "cancel"])
    def test_run_ends_as_it_was_told(self, machine: Machine, work: Work, how: str) -> None:
        """Repeating the same is fine, another end is not."""
        machine.run()
        claim = claimed(work)
        ends: dict[str, Any] = {
            "complete": complete(claim),
            "fail": claim.run.fail(at=AT, error="no \u202e"),
            "cancel": claim.run.cancel(at=AT),
        }
        work.finish(claim.fence, ends[how])
        work.finish(claim.fence, ends[how])
        assert machine.store.runs.get(claim.run.id) == ends[how]
        for other in ends.values():
            if other is not ends[how]:
                with pytest.raises(LeaseLost):
                    work.finish(claim.fence, other)
        assert machine.store.runs.get(claim.run.id) == ends[how]

    @pytest.mark.parametrize(
        "fields",
        [
            {"state": RunState.RUNNING},
            {"state": RunState.REQUESTED},
            {"job_name": "other"},
            {"requested_at": AT - timedelta(1)},
            {"due_at": AT},
            {"kind": RunKind.RESTORE},
            {"agent_id": "f" * 32},
        ],
    )
    def test_end_is_an_end_of_the_same_run(
        self, machine: Machine, work: Work, fields: dict[str, Any]
    ) -> None:
        machine.run()
        claim = claimed(work)
        with pytest.raises(IllegalTransition):
            work.finish(claim.fence, complete(claim, **fields))
        assert machine.store.runs.get(claim.run.id) == claim.run

    def test_when_a_run_began_is_what_the_store_says(self, machine: Machine, work: Work) -> None:
        machine.run()
        claim = claimed(work)
        work.finish(claim.fence, complete(claim, started_at=AT))
        assert machine.store.runs.get(claim.run.id).started_at == claim.run.started_at

    @pytest.mark.parametrize("how", ["taken over", "ended", "handed back", "never had"])
    def test_who_lost_the_run_is_refused(
        self, fleet: Fleet, machine: Machine, work: Work, how: str
    ) -> None:
        """By every method; nothing of it is kept."""
        machine.run()
        old = claimed(work, lease_seconds=SHORT)
        fence = old.fence
        if how == "taken over":
            let_lapse(fleet, old)
            claimed(work, instance=OTHER_INSTANCE)
        elif how == "ended":
            work.finish(old.fence, old.run.fail(at=AT, error="full"))
        elif how == "handed back":
            work.hand_back(old.run.id, old.fence)
        else:
            fence += 1
        before = machine.store.runs.get(old.run.id)
        calls = _calls(work, evolve(old, fence=fence))
        if how == "handed back":
            calls.pop("hand_back")()  # says what is so already
        for call in calls.values():
            with pytest.raises(LeaseLost):
                call()
        assert machine.store.runs.get(old.run.id) == before
        assert list(machine.store.runs.events(old.run.id)) == []
        assert list(machine.store.repositories.receipts(machine.repository.id)) == []


def _calls(work: Work, claim: Claim) -> dict[str, Callable[[], object]]:
    run_id, fence = claim.run.id, claim.fence
    return {
        "renew": lambda: work.renew(run_id, fence, lease_seconds=LONG),
        "report": lambda: work.report(run_id, fence, [_LINE]),
        "hand_back": lambda: work.hand_back(run_id, fence),
        "finish": lambda: work.finish(fence, complete(claim)),
        "acknowledge": lambda: work.acknowledge(run_id, fence, make_snapshot(), OBJECTS),
    }
