"""One process at a time runs a job; runs of a process that died are ended by the next one."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
from attrs import evolve

from backapp_core import (
    Job,
    Run,
    RunFilter,
    RunMoved,
    RunState,
    Settings,
    SnapshotFilter,
    assemble,
)
from backapp_core.engine.claim import ENDED_SILENTLY, claimed
from backapp_core.errors import JobRunning, StoreUnavailable
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.memory_store import MemoryStore

# Runs a job, and stops for ever as soon as the run is under way.
CHILD = """
import sys
from backapp_core import RunMoved, Settings, assemble

def stop(event):
    if isinstance(event, RunMoved):
        print(event.run.id, flush=True)
        sys.stdin.read()

settings = Settings(state_folder=sys.argv[1], cache_folder=sys.argv[2])
with assemble(settings, events=stop) as engine:
    engine.run_job("nightly")
"""


@pytest.fixture
def real(tmp_path):
    """An engine on what is installed, with a job that can run."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    settings = Settings(state_folder=str(tmp_path / "state"), cache_folder=str(tmp_path / "cache"))
    with assemble(settings) as engine:
        address = str(tmp_path / "repository")
        engine.create_repository(address, archiver="targz").close()
        for name in ("nightly", "weekly"):
            roots = (bytes(tmp_path / "home"),)
            engine.jobs.add(Job(name=name, repository=address, roots=roots))
        yield engine


@contextmanager
def child_at_work(engine):
    """A process in the middle of the job; yields it and the id of its run."""
    folders = [engine.settings.state_folder, engine.settings.cache_folder]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *folders],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


def test_job_that_another_process_runs_is_refused_and_the_run_named(real):
    with child_at_work(real) as (_, run_id):
        with pytest.raises(JobRunning) as caught:
            real.run_job("nightly")
        assert caught.value.message == (
            f"job 'nightly' is running already (run {run_id[:8]}); wait until it ends"
        )
        (only,) = real.runs.list(RunFilter(job_name="nightly"))
        assert (only.id, only.state) == (run_id, RunState.RUNNING)


def test_other_jobs_run_meanwhile(real):
    with child_at_work(real) as (_, run_id):
        assert real.run_job("weekly").state is RunState.COMPLETED
        assert real.runs.get(run_id).state is RunState.RUNNING


def test_run_of_a_killed_process_has_failed_when_the_next_one_begins(real):
    with child_at_work(real) as (child, run_id):
        child.kill()
        child.wait()
        assert real.runs.get(run_id).state is RunState.RUNNING
        after = real.run_job("nightly")
    assert after.state is RunState.COMPLETED
    dead = real.runs.get(run_id)
    assert (dead.state, dead.error) == (RunState.FAILED, ENDED_SILENTLY)
    assert dead.ended_at <= after.requested_at
    last = [event for _, event in real.runs.events(run_id)][-1]
    assert last == RunMoved(dead)


def test_process_that_ends_orderly_gives_the_job_back(real):
    with child_at_work(real) as (child, run_id):
        child.communicate("")
        assert child.returncode == 0
    assert real.runs.get(run_id).state is RunState.COMPLETED
    assert real.run_job("nightly").state is RunState.COMPLETED
    with real.open_repository(real.jobs.get("nightly").repository) as repository:
        assert len(real.snapshots(repository, SnapshotFilter())) == 2


def test_job_that_a_process_with_another_state_folder_runs_is_refused(real, tmp_path):
    store = f"sqlite:///{tmp_path}/state/backapp.sqlite"
    settings = evolve(real.settings, store=store, state_folder=str(tmp_path / "elsewhere"))
    with child_at_work(real) as (_, run_id), assemble(settings) as other:
        with pytest.raises(JobRunning, match=run_id[:8]):
            other.run_job("nightly")
        assert other.runs.get(run_id).state is RunState.RUNNING


# --- the claim itself


@pytest.fixture
def around(tmp_path):
    return make_surroundings(tmp_path)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def runs(store):
    return store.runs


def test_second_claim_within_one_process_is_refused(around, store):
    with claimed(around, store, "a"):
        refused = pytest.raises(JobRunning, match="'a' is running already; wait")
        with refused, claimed(around, store, "a"):
            pytest.fail("two at once")
        with claimed(around, store, "b"):
            pass
    with claimed(around, store, "a"):
        pass


def test_claim_is_given_back_after_an_error(around, store):
    with pytest.raises(KeyboardInterrupt), claimed(around, store, "a"):
        raise KeyboardInterrupt
    with claimed(around, store, "a") as abandoned:
        assert abandoned == []


def test_every_abandoned_run_of_this_job_is_ended_and_no_other(around, store, runs):
    at = around.clock.now()
    requested = Run("0" * 32, "a", RunState.REQUESTED, at)
    other = Run("f" * 32, "b", RunState.REQUESTED, at)
    many = [evolve(requested, id=f"{number:032x}") for number in range(1, 61)]
    for run in (requested, other, *many):
        runs.add(run)
    for run in many:
        runs.move(run.start(at=at), from_state=RunState.REQUESTED)
    around.clock.advance(60)
    with claimed(around, store, "a") as abandoned:
        assert len(abandoned) == 61
        assert {run.error for run in abandoned} == {ENDED_SILENTLY}
        assert runs.get(requested.id).state is RunState.CANCELLED
        assert {runs.get(run.id).state for run in many} == {RunState.FAILED}
        assert {runs.get(run.id).ended_at for run in many} == {around.clock.now()}
        assert runs.get(other.id) == other


def test_state_folder_that_cannot_be_written_is_said(around, store, tmp_path):
    (tmp_path / "file").write_text("")
    elsewhere = evolve(around, state_folder=tmp_path / "file")
    refused = pytest.raises(StoreUnavailable, match=r"job 'a' cannot be claimed in .*file.claims: ")
    with refused, claimed(elsewhere, store, "a"):
        pytest.fail("claimed nothing")


def test_claim_is_where_the_store_wants_it(around, store, tmp_path):
    store.claims_folder = tmp_path / "shared"
    elsewhere = evolve(around, state_folder=tmp_path / "other")
    with claimed(around, store, "a"):
        refused = pytest.raises(JobRunning)
        with refused, claimed(elsewhere, store, "a"):
            pytest.fail("two at once")
    assert list((tmp_path / "shared").iterdir()) == [tmp_path / "shared" / "a.lock"]
