"""The contract of whoever finds a repository locked and is willing to wait.

::

    class TestMine(ArchiverContract, LockWaitingContract): ...
"""

import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.errors import RepositoryLocked, RunCancelled
from backapp_core.events import Level, LogLine, Recording
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import RemovalPlan
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.surroundings import CancelToken, Keys, Surroundings
from backapp_core.testing.archiver_fixtures import ArchiverFixtures
from backapp_core.testing.fakes import FrozenClock, MemoryBucket, MemoryTransport, WatchedClock
from backapp_core.testing.faults import FaultyTransport, Operation, Phase
from backapp_core.testing.plain_scanner import PlainScanner

_WAIT_SECONDS = 300.0
_OPTIONS = BackupOptions(hostname="host", username="user")


class LockWaitingContract(ArchiverFixtures):
    """Claims about whoever finds the repository locked and is willing to wait."""

    @pytest.fixture
    def removal(
        self, kind: ArchiverKind, keys: Keys, surroundings: Surroundings, bucket: MemoryBucket
    ) -> Iterator[Callable[[Snapshot], Callable[[], None]]]:
        """Return a function that begins a removal and returns what lets it end."""
        go_on = threading.Event()
        threads: list[threading.Thread] = []

        def end() -> None:
            go_on.set()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads)

        def begin(snapshot: Snapshot) -> Callable[[], None]:
            reached = threading.Event()

            def pause(operation: Operation, now: Phase) -> None:
                is_removal = operation.verb == "delete" and operation.name.startswith("snapshots/")
                if is_removal and now is Phase.BEFORE:
                    reached.set()
                    assert go_on.wait(30)

            def work() -> None:
                transport = FaultyTransport(MemoryTransport(bucket), pause)
                with kind.open(transport, keys, surroundings) as other:
                    other.remove(RemovalPlan(keep=(), remove=(snapshot.id,)))

            threads.append(threading.Thread(target=work))
            threads[-1].start()
            assert reached.wait(30)
            return end

        yield begin
        end()

    def test_a_backup_waits_for_a_removal_and_is_done(
        self,
        kind: ArchiverKind,
        keys: Keys,
        back_up: Callable[..., Snapshot],
        removal: Callable[[Snapshot], Callable[[], None]],
        surroundings: Surroundings,
        bucket: MemoryBucket,
        tree: Path,
    ) -> None:
        end = removal(back_up())
        clock = WatchedClock(surroundings.clock.now(), seconds=130, then=end)
        around = _patient(surroundings, clock)
        with kind.open(MemoryTransport(bucket), keys, around) as patient:
            made = patient.backup(PlainScanner(os.fsencode(tree), around), _OPTIONS).snapshot
            assert [one.id for one in patient.snapshots()] == [made.id]
        waits = _said(around, Level.WARNING)
        assert [text.partition(" at most: ")[0] for text in waits[:1]] == [
            "waiting for a lock, 5:00"
        ]
        # Once a minute at most, and it was two minutes and some seconds.
        assert 2 <= len(waits) <= 3
        assert 130 <= clock.monotonic_seconds() < 130 + 21
        assert _said(around, Level.INFO)[:1][0].startswith("the lock is free after 2:")
        assert not _locks(bucket)

    def test_a_removal_waits_for_a_backup_and_is_done(
        self,
        kind: ArchiverKind,
        keys: Keys,
        back_up: Callable[..., Snapshot],
        repository: Repository,
        surroundings: Surroundings,
        bucket: MemoryBucket,
        tree: Path,
    ) -> None:
        old = back_up()
        made: list[Snapshot] = []

        def back_up_slowly(pause: Callable[[bytes], None]) -> None:
            with kind.open(MemoryTransport(bucket), keys, surroundings) as other:
                scanner = PlainScanner(os.fsencode(tree), surroundings, between=pause)
                made.append(other.backup(scanner, _OPTIONS).snapshot)

        with _begun(back_up_slowly) as end:
            clock = WatchedClock(surroundings.clock.now(), seconds=5, then=end)
            around = _patient(surroundings, clock)
            with kind.open(MemoryTransport(bucket), keys, around) as patient:
                patient.remove(RemovalPlan(keep=(), remove=(old.id,)))
        assert [one.id for one in repository.snapshots()] == [made[0].id]
        assert len(_said(around, Level.WARNING)) == 1
        assert not _locks(bucket)

    def test_when_the_time_is_over_it_is_as_if_nobody_had_waited(
        self,
        kind: ArchiverKind,
        keys: Keys,
        back_up: Callable[..., Snapshot],
        removal: Callable[[Snapshot], Callable[[], None]],
        surroundings: Surroundings,
        bucket: MemoryBucket,
        tree: Path,
    ) -> None:
        removal(back_up())
        before = bucket.objects
        clock = FrozenClock(surroundings.clock.now())
        around = _patient(surroundings, clock)
        for is_waiting in (False, True):
            at = evolve(around, lock_wait_seconds=_WAIT_SECONDS if is_waiting else 0.0)
            with (
                kind.open(MemoryTransport(bucket), keys, at) as patient,
                pytest.raises(RepositoryLocked) as caught,
            ):
                patient.backup(PlainScanner(os.fsencode(tree), at), _OPTIONS)
            assert "waiting" not in caught.value.message
            waited = clock.monotonic_seconds()
            assert waited == pytest.approx(_WAIT_SECONDS if is_waiting else 0.0, abs=0.5)
        assert bucket.objects == before

    def test_a_wish_to_stop_ends_the_wait_and_leaves_nothing(
        self,
        kind: ArchiverKind,
        keys: Keys,
        back_up: Callable[..., Snapshot],
        removal: Callable[[Snapshot], Callable[[], None]],
        surroundings: Surroundings,
        bucket: MemoryBucket,
        tree: Path,
    ) -> None:
        old = back_up()
        removal(old)
        before = bucket.objects
        cancel = CancelToken()
        clock = WatchedClock(surroundings.clock.now(), seconds=10, then=cancel.cancel)
        around = evolve(_patient(surroundings, clock), cancel=cancel)
        with kind.open(MemoryTransport(bucket), keys, around) as patient:
            with pytest.raises(RunCancelled):
                patient.backup(PlainScanner(os.fsencode(tree), around), _OPTIONS)
            assert clock.monotonic_seconds() < 10.5
            with pytest.raises(RunCancelled):
                patient.remove(RemovalPlan(keep=(), remove=(old.id,)))
        assert bucket.objects == before


def _patient(surroundings: Surroundings, clock: FrozenClock) -> Surroundings:
    return evolve(surroundings, clock=clock, events=Recording(), lock_wait_seconds=_WAIT_SECONDS)


@contextmanager
def _begun(work: Callable[[Callable[[bytes], None]], None]) -> Generator[Callable[[], None]]:
    """Begin work that stays in the middle, where it pauses, until what this yields is called."""
    reached, go_on = threading.Event(), threading.Event()

    def pause(path: bytes) -> None:
        del path
        reached.set()
        assert go_on.wait(30)

    thread = threading.Thread(target=work, args=(pause,))

    def end() -> None:
        go_on.set()
        thread.join(30)
        assert not thread.is_alive()

    thread.start()
    try:
        assert reached.wait(30)
        yield end
    finally:
        end()


def _said(surroundings: Surroundings, level: Level) -> list[str]:
    events = surroundings.events
    assert isinstance(events, Recording)
    return [line.text for line in events.of(LogLine) if line.level is level]


def _locks(bucket: MemoryBucket) -> list[str]:
    return [name for name in bucket.objects if name.startswith("locks/")]
