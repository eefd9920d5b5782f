import pytest

from backapp_core import FileDone, Level, LogLine, Progress, Run, RunState, Verb
from backapp_core.engine.record import EventRecorder
from backapp_core.errors import StoreUnavailable
from backapp_core.testing.fakes import FrozenClock
from backapp_core.testing.memory_store import MemoryStore


class Failing:
    """Runs that cannot be written while `is_broken`."""

    def __init__(self, runs):
        self._runs = runs
        self.is_broken = False
        self.batches = []

    def add_events(self, run_id, events):
        if self.is_broken:
            raise StoreUnavailable("the disk is gone")
        self.batches.append(len(events))
        self._runs.add_events(run_id, events)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def runs(clock):
    runs = MemoryStore().runs
    runs.add(Run("ab" * 16, "job", RunState.REQUESTED, clock.now()))
    return runs


@pytest.fixture
def failing(runs):
    return Failing(runs)


@pytest.fixture
def recorder(failing, clock):
    return EventRecorder(failing, "ab" * 16, clock)


def line(number):
    return LogLine(Level.INFO, str(number))


def test_events_are_written_in_batches_and_in_order(recorder, failing, runs):
    for number in range(450):
        recorder(line(number))
    assert failing.batches == [200, 200]
    recorder.flush()
    assert failing.batches == [200, 200, 50]
    assert [event.text for _, event in runs.events("ab" * 16)] == [str(n) for n in range(450)]


def test_late_events_are_not_kept_waiting(recorder, failing, clock):
    recorder(line(1))
    clock.advance(3)
    recorder(line(2))
    assert failing.batches == [2]


def test_progress_and_single_files_are_not_kept(recorder, failing):
    recorder(Progress(Verb.BACKUP, 1, 1))
    recorder(FileDone(Verb.BACKUP, b"/a", "new", 1))
    recorder.flush()
    assert failing.batches == []


def test_store_that_fails_for_a_moment_loses_nothing(recorder, failing, runs):
    failing.is_broken = True
    for number in range(300):
        recorder(line(number))
    failing.is_broken = False
    recorder.flush()
    assert len(runs.events("ab" * 16)) == 300


def test_store_that_fails_at_the_end_is_said(recorder, failing):
    failing.is_broken = True
    recorder(line(1))
    with pytest.raises(StoreUnavailable):
        recorder.flush()


def test_flood_of_events_is_cut_and_said(recorder, runs):
    for number in range(10_005):
        recorder(line(number))
    recorder.flush()
    recorder.flush()
    kept = runs.events("ab" * 16)
    assert len(kept) == 10_001
    assert kept[-1][1].text == "5 more events were not recorded"
