"""Claims, leases and ends of runs in SQLite against a few lines that say the same."""

import shutil
import tempfile
from pathlib import Path

import pytest
from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from backapp_core.errors import IllegalTransition, LeaseLost, NameTaken, RunNotFound
from backapp_core.events import Level, LogLine
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.fleet_fixtures import (
    INSTANCE,
    LONG,
    OTHER_INSTANCE,
    make_machine,
    outcome_of,
    sees_all,
)
from backapp_core.testing.store_fixtures import AT, COUNTS
from backapp_plugins.stores.sql import open_fleet

NUMBERS = st.integers(1, 5)
JOBS = st.sampled_from(["a", "b"])
INSTANCES = st.sampled_from([INSTANCE, OTHER_INSTANCE])
# A lease of no time is over at once.
LEASES = st.sampled_from([0.0, LONG])
BEHIND = st.integers(0, 1)


@define
class Believed:
    """What a run should be like."""

    job_name: str
    state: RunState = RunState.REQUESTED
    fence: int = 0
    lease: str = "none"  # or held, lapsed
    is_cancel_wished: bool = False
    events: int = 0
    end: Run | None = None


class Claims(RuleBasedStateMachine):
    empty_file: Path

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runs = {}

    @initialize()
    def begin(self):
        folder = Path(self.folder.name)
        shutil.copy(self.empty_file, folder / "fleet.db")
        surroundings = Surroundings(cache_folder=folder, state_folder=folder)
        self.fleet = open_fleet(f"sqlite://{folder / 'fleet.db'}", surroundings)
        self.machine = make_machine(self.fleet)
        for name in ("a", "b"):
            self.machine.job(name)
        self.work = self.machine.store.work(self.machine.id, sees_all)

    def teardown(self):
        self.fleet.close()
        self.folder.cleanup()

    def held(self, number, fence):
        """Return what a call with this fence should raise; None if it may go on."""
        if number not in self.runs:
            return RunNotFound
        run = self.runs[number]
        is_held = run.state is RunState.RUNNING and run.fence == fence and run.lease != "none"
        return None if is_held else LeaseLost

    def fence_of(self, number, behind):
        return self.runs[number].fence - behind if number in self.runs else 1

    @rule(number=NUMBERS, job_name=JOBS)
    def request(self, number, job_name):
        expected = NameTaken if number in self.runs else None
        found = outcome_of(lambda: self.machine.run(number, job_name=job_name))
        assert (found is NameTaken) == (expected is NameTaken)
        self.runs.setdefault(number, Believed(job_name))

    @rule(instance=INSTANCES, lease_seconds=LEASES)
    def claim(self, instance, lease_seconds):
        busy = {run.job_name for run in self.runs.values() if run.lease == "held"}
        waiting = sorted(
            number
            for number, run in self.runs.items()
            if not run.state.is_final and run.lease != "held" and run.job_name not in busy
        )
        claim = self.work.claim(instance, lease_seconds=lease_seconds)
        if not waiting:
            assert claim is None
            return
        run = self.runs[waiting[0]]
        assert int(claim.run.id, 16) == waiting[0]
        assert claim.fence > run.fence
        run.state, run.fence = RunState.RUNNING, claim.fence
        run.lease = "held" if lease_seconds else "lapsed"

    @rule(number=NUMBERS, behind=BEHIND, lease_seconds=LEASES)
    def renew(self, number, behind, lease_seconds):
        fence = self.fence_of(number, behind)
        expected = self.held(number, fence)
        found = outcome_of(
            lambda: self.work.renew(f"{number:032x}", fence, lease_seconds=lease_seconds)
        )
        if expected is None:
            assert found.is_cancel_wished == self.runs[number].is_cancel_wished
            self.runs[number].lease = "held" if lease_seconds else "lapsed"
        else:
            assert found is expected

    @rule(number=NUMBERS, behind=BEHIND)
    def report(self, number, behind):
        fence = self.fence_of(number, behind)
        expected = self.held(number, fence)
        line = (AT, LogLine(Level.INFO, "x"))
        assert outcome_of(self.work.report, f"{number:032x}", fence, [line]) is expected
        if expected is None:
            self.runs[number].events += 1

    @rule(number=NUMBERS, behind=BEHIND)
    def hand_back(self, number, behind):
        fence = self.fence_of(number, behind)
        expected = self.held(number, fence)
        run = self.runs.get(number)
        if run and run.state is RunState.RUNNING and (run.fence, run.lease) == (fence, "none"):
            expected = None  # again
        assert outcome_of(self.work.hand_back, f"{number:032x}", fence) is expected
        if expected is None:
            run.lease = "none"

    @rule(number=NUMBERS, behind=BEHIND, is_good=st.booleans())
    def finish(self, number, behind, is_good):
        fence = self.fence_of(number, behind)
        expected = self.held(number, fence)
        run = self.runs.get(number)
        if run is None:
            return
        stored = self.machine.store.runs.get(f"{number:032x}")
        running = Run(
            stored.id,
            stored.job_name,
            RunState.RUNNING,
            stored.requested_at,
            agent_id=stored.agent_id,
        )
        if is_good:
            ended = running.complete(at=AT, snapshot_id="f" * 64, counts=COUNTS)
        else:
            ended = running.fail(at=AT, error="full")
        if run.end == ended and run.fence == fence:
            expected = None  # again
        assert outcome_of(self.work.finish, fence, ended) is expected
        if expected is None:
            run.state, run.lease, run.end = ended.state, "none", ended

    @rule(number=NUMBERS)
    def wish_cancel(self, number):
        run = self.runs.get(number)
        found = outcome_of(self.machine.store.runs.wish_cancel, f"{number:032x}")
        if run is None:
            assert found is RunNotFound
        elif run.state.is_final:
            assert found is IllegalTransition
        elif run.state is RunState.REQUESTED:
            run.state = RunState.CANCELLED
        else:
            run.is_cancel_wished = True

    @invariant()
    def states_agree(self):
        if not hasattr(self, "machine"):
            return
        found = self.machine.store.runs.list(RunFilter(limit=100))
        assert {int(run.id, 16): run.state for run in found} == {
            number: run.state for number, run in self.runs.items()
        }
        for run in found:
            believed = self.runs[int(run.id, 16)]
            assert (run.cancel_wished_at is not None) == believed.is_cancel_wished
            assert len(self.machine.store.runs.events(run.id)) == believed.events


def compare(empty_file, examples, steps):
    class FromCopies(Claims):
        pass

    FromCopies.empty_file = empty_file
    run_state_machine_as_test(
        FromCopies,
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )


def test_claims_agree(empty_file):
    compare(empty_file, 8, 20)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_claims_agree_for_long(empty_file):
    compare(empty_file, 400, 60)
