"""What a run of this machine asks for while it holds it, and no longer."""

import threading

import pytest
from attrs import evolve

from backapp_core.engine.agent_grants import RunGrants
from backapp_core.engine.agent_lease import Lease
from backapp_core.errors import LeaseLost, RunNotFound, StoreUnavailable
from backapp_core.model.grants import WriteWish
from backapp_core.model.runs import RunState
from backapp_core.model.work import Claim, Renewal
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.fakes import FrozenClock
from backapp_core.testing.fleet_fixtures import make_repository
from backapp_core.testing.store_fixtures import AT, JOB, make_run

WISH = WriteWish("data/x", 1, "0" * 64, "0" * 32)
ASKED = {
    "grant_reads": ("id", ["config"]),
    "grant_writes": ("id", [WISH]),
    "grant_deletes": ("id", ["locks/x"]),
    "list_objects": ("id", "data", ""),
    "begin_upload": ("id", "data/x"),
    "grant_parts": ("id", "data/x", "upload", [WISH], 1),
    "complete_upload": ("id", "data/x", "upload", [(1, "tag")]),
    "abandon_upload": ("id", "data/x", "upload"),
}


class Issuer:
    """Answers every question with the question."""

    def __init__(self):
        self.asked = []
        self.error = None

    def __getattr__(self, name):
        def ask(*arguments):
            self.asked.append((name, arguments))
            if self.error is not None:
                raise self.error
            return name, arguments

        return ask


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def cancel():
    return CancelToken()


@pytest.fixture
def claim():
    """A run that is held for a minute."""
    run = evolve(make_run(), state=RunState.RUNNING)
    return Claim(run, 1, AT, 60.0, JOB, make_repository("a" * 32))


@pytest.fixture
def lease(cancel, claim):
    """A lease that nobody renews, since it is not entered; so there is no server."""
    return Lease(None, claim, FrozenClock(), cancel, asked_at=0.0)


@pytest.fixture
def grants(issuer, lease):
    return RunGrants(issuer, lease)


def test_while_the_run_is_held_every_question_is_passed_on_word_for_word(grants, issuer):
    for name, arguments in ASKED.items():
        answer = getattr(grants, name)(*arguments)
        assert answer == (None if name == "abandon_upload" else (name, arguments))
    assert issuer.asked == [*ASKED.items()]


@pytest.mark.parametrize("name", sorted(ASKED.keys() - {"abandon_upload"}))
@pytest.mark.parametrize("error", [LeaseLost, RunNotFound])
def test_run_that_the_server_gave_to_somebody_else_stops_as_a_whole(
    grants, issuer, lease, cancel, name, error
):
    issuer.error = error("the run is somebody else's")
    with pytest.raises(error, match="somebody else's"):
        getattr(grants, name)(*ASKED[name])
    assert lease.is_lost
    assert cancel.is_cancelled


def test_after_the_run_was_lost_nothing_is_asked_for_but_to_throw_parts_away(grants, issuer, lease):
    lease.lose()
    for name in ASKED.keys() - {"abandon_upload"}:
        with pytest.raises(LeaseLost, match="held by this machine no longer"):
            getattr(grants, name)(*ASKED[name])
    grants.abandon_upload(*ASKED["abandon_upload"])
    assert issuer.asked == [("abandon_upload", ASKED["abandon_upload"])]


def test_server_that_does_not_answer_costs_no_run(grants, issuer, lease):
    issuer.error = StoreUnavailable("not now")
    with pytest.raises(StoreUnavailable):
        grants.grant_writes(*ASKED["grant_writes"])
    assert not lease.is_lost


@pytest.mark.parametrize(("passed_seconds", "is_lost"), [(39.5, False), (40.0, True)])
def test_run_is_given_up_a_while_before_others_may_have_it(cancel, claim, passed_seconds, is_lost):
    """Whoever was not heard for two thirds of a lease of 60 seconds stops by itself."""
    clock = FrozenClock()
    lease = Lease(None, claim, clock, cancel, asked_at=clock.monotonic_seconds() - passed_seconds)
    with lease:
        lease.wait(30 if is_lost else 0)
    assert lease.is_lost is is_lost
    assert cancel.is_cancelled is is_lost


class Hanging:
    """Renews leases at a server that does not answer the first few times, until it is given up."""

    def __init__(self, clock, unanswered):
        self._clock = clock
        self._left = unanswered
        self.failed = threading.Semaphore(0)
        self.renewed = threading.Event()

    def renew(self, run_id, fence, *, lease_seconds, within_seconds=30.0):
        if self._left:
            self._left -= 1
            self._clock.advance(within_seconds)
            self.failed.release()
            raise StoreUnavailable("the server does not answer")
        self.renewed.set()
        return Renewal(AT, is_cancel_wished=False)


@pytest.mark.parametrize("unanswered", [1, 3])
def test_server_that_does_not_answer_at_once_costs_no_run(claim, cancel, unanswered):
    clock = FrozenClock()
    work = Hanging(clock, unanswered)
    with Lease(work, claim, clock, cancel, asked_at=0.0) as lease:
        clock.advance(20)  # a third of the lease
        for _ in range(unanswered):
            lease.poke()
            assert work.failed.acquire(timeout=30)
        lease.poke()
        assert work.renewed.wait(30)
        assert clock.monotonic_seconds() < 40
        lease.wait(0)
        assert not lease.is_lost
    assert not cancel.is_cancelled
