"""What is wrong and what happens now, of one tenant, from a real store."""

from datetime import timedelta

import pytest
from attrs import evolve

from backapp_core.engine.overview import OF_LATE, Pace, overview, pace_of
from backapp_core.events import Progress, Verb
from backapp_core.model.agents import EnrolmentToken
from backapp_core.model.jobs import Job
from backapp_core.model.runs import Run, RunState
from backapp_core.model.users import Invitation, Role, User
from backapp_core.ports.tenants import AgentStanding


@pytest.fixture
def store(fleet):
    """What a tenant owns that has a machine and two jobs."""
    tenant = fleet.tenant(fleet.tenants()[0].id)
    now = fleet.now()
    invitation = Invitation("1" * 32, Role.ADMIN, now, now + timedelta(hours=1))
    tenant.users.invite(invitation, "a" * 64)
    fleet.join("a" * 64, User("2" * 32, "a@example.org", "A", Role.ADMIN, now), "hash")
    token = EnrolmentToken("3" * 32, "pluto", "2" * 32, now, now + timedelta(hours=1))
    tenant.agents.allow(token, "b" * 64)
    fleet.enrol("b" * 64, "4" * 32, "c" * 64)
    for name in ("documents", "photos"):
        tenant.jobs.add(Job(name, "backapp:" + "5" * 32, (b"/home",), agent_id="4" * 32))
    return tenant


def add(store, number: int, at, job: str = "documents", state=RunState.REQUESTED) -> Run:
    run = Run(f"{number:032x}", job, RunState.REQUESTED, at, agent_id="4" * 32)
    store.runs.add(run)
    if state is RunState.REQUESTED:
        return run
    begun = run.start(at=at)
    store.runs.move(begun, from_state=RunState.REQUESTED)
    if state is RunState.RUNNING:
        return begun
    ended = begun.fail(at=at, error="no space")
    store.runs.move(ended, from_state=RunState.RUNNING)
    return ended


def seen(store, at):
    return overview(store, at=at, alive_seconds=90)


def test_machine_that_was_never_in_touch_is_silent_and_a_revoked_one_is_not_counted(store, fleet):
    found = seen(store, fleet.now()).agents
    assert (found.enrolled, found.online) == (1, 0)
    assert [one.name for one in found.silent] == ["pluto"]
    store.agents.revoke("4" * 32)
    assert seen(store, fleet.now()).agents == AgentStanding(enrolled=0, online=0, silent=())


def test_failures_of_late_are_told_and_older_ones_are_not(store, fleet):
    now = fleet.now()
    add(store, 1, now - OF_LATE - timedelta(minutes=1), state=RunState.FAILED)
    recent = add(store, 2, now - OF_LATE + timedelta(minutes=1), state=RunState.FAILED)
    found = seen(store, now)
    assert [run.id for run in found.failed] == [recent.id]
    assert len(found.latest) == 2


def test_what_runs_comes_before_what_waits(store, fleet):
    now = fleet.now()
    running = add(store, 1, now, state=RunState.RUNNING)
    waiting = add(store, 2, now + timedelta(seconds=1))
    found = seen(store, now)
    assert [run.id for run in found.going] == [running.id, waiting.id]
    assert found.jobs == 2
    assert found.failed == ()


def test_pace_is_an_average_since_the_run_began(store, fleet):
    now = fleet.now()
    run = Run("6" * 32, "documents", RunState.REQUESTED, now).start(at=now)
    progress = Progress(Verb.BACKUP, 1, 1000, bytes_total=4000)
    later = now + timedelta(seconds=10)
    assert pace_of(run, progress, at=later) == Pace(100.0, 30.0)
    assert pace_of(run, evolve(progress, bytes_total=None), at=later) == Pace(100.0, None)
    assert pace_of(run, evolve(progress, bytes_done=5000), at=later) == Pace(500.0, 0.0)


def test_nothing_is_said_of_the_pace_of_what_has_not_begun_or_has_ended(fleet):
    now = fleet.now()
    waiting = Run("6" * 32, "documents", RunState.REQUESTED, now)
    running = waiting.start(at=now)
    progress = Progress(Verb.BACKUP, 1, 1000, bytes_total=4000)
    later = now + timedelta(seconds=10)
    assert pace_of(waiting, progress, at=later) is None
    assert pace_of(running, None, at=later) is None
    assert pace_of(running, progress, at=now) is None
    assert pace_of(running, evolve(progress, bytes_done=0), at=later) is None
    assert pace_of(running.fail(at=later, error="x"), progress, at=later) is None
