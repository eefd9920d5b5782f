"""A lock that others hold is waited for as long as is wished, and no longer."""

from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.errors import RepositoryLocked, TransportUnavailable
from backapp_core.events import Level, LogLine, Recording
from backapp_core.ports.lock_waits import once_free
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.fakes import make_surroundings


class Lock:
    """Is held by others until so many seconds have passed; remembers who asked when."""

    def __init__(self, around: Surroundings, free_after_seconds: float) -> None:
        self._clock = around.clock
        self._free_after_seconds = free_after_seconds
        self.asked_at: list[float] = []

    def take(self) -> str:
        self.asked_at.append(self._clock.monotonic_seconds())
        if self.asked_at[-1] < self._free_after_seconds:
            raise RepositoryLocked("somebody has it")
        return "taken"


@pytest.fixture
def patient(tmp_path: Path):
    def patient(seconds: float) -> Surroundings:
        around = make_surroundings(tmp_path, events=Recording())
        return evolve(around, lock_wait_seconds=seconds)

    return patient


def said(around: Surroundings, level: Level) -> list[str]:
    assert isinstance(around.events, Recording)
    return [line.text for line in around.events.of(LogLine) if line.level is level]


def test_who_does_not_want_to_wait_asks_once_and_is_told_nothing(patient):
    around = patient(0.0)
    lock = Lock(around, 10)
    with pytest.raises(RepositoryLocked, match=r"^somebody has it$"):
        once_free(around, lock.take)
    assert (lock.asked_at, around.events.events) == ([0.0], [])


def test_what_is_free_is_taken_without_a_word(patient):
    around = patient(600.0)
    assert once_free(around, Lock(around, 0).take) == "taken"
    assert around.events.events == []


def test_pauses_grow_up_to_a_third_of_a_minute(patient):
    around = patient(600.0)
    lock = Lock(around, 300)
    assert once_free(around, lock.take) == "taken"
    pauses = [after - before for before, after in pairwise(lock.asked_at)]
    steps = [1.0, 2.0, 4.0, 8.0, 16.0, *[20.0] * len(pauses)]
    assert all(step / 2 <= pause <= step for pause, step in zip(pauses, steps, strict=False)), (
        pauses
    )
    assert len(set(pauses[5:])) > 1, "many that wait come back at the same moment"


def test_it_is_said_at_once_who_is_waited_for_and_then_once_a_minute_at_most(patient):
    around = patient(600.0)
    lock = Lock(around, 200)
    once_free(around, lock.take)
    waits = said(around, Level.WARNING)
    assert waits[0] == "waiting for a lock, 10:00 at most: somebody has it"
    assert 3 <= len(waits) <= 4
    assert all(text.endswith(" at most: somebody has it") for text in waits)
    [end] = said(around, Level.INFO)
    assert end.startswith("the lock is free after 3:")


def test_the_last_attempt_is_made_when_the_time_is_over(patient):
    around = patient(100.0)
    lock = Lock(around, 1000)
    with pytest.raises(RepositoryLocked, match=r"^somebody has it$"):
        once_free(around, lock.take)
    assert lock.asked_at[-1] == pytest.approx(100.0)
    late = patient(100.0)
    assert once_free(late, Lock(late, 99.99).take) == "taken"


def test_other_errors_are_not_waited_out(patient):
    around = patient(100.0)

    def fail() -> None:
        raise TransportUnavailable("no network")

    with pytest.raises(TransportUnavailable):
        once_free(around, fail)
    assert around.clock.monotonic_seconds() == 0.0
