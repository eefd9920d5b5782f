"""A lock is there while its holder works, and a holder without one goes no further."""

import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.errors import (
    AccessRefused,
    RepositoryLocked,
    StorageFull,
    TransportUnavailable,
)
from backapp_core.events import LogLine, Recording
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.faults import FaultyTransport, Phase, RecordingTransport, raising
from backapp_plugins.archivers.restic.access import holding
from backapp_plugins.archivers.restic.access.holding import Hold, hold
from backapp_plugins.archivers.restic.access.locks import NOT_ASKED, FoundLock, read_locks
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey, Sealer

KEY = MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)
Holding = Callable[..., AbstractContextManager[Hold]]


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return evolve(make_surroundings(tmp_path), events=Recording())


@pytest.fixture
def transport(surroundings: Surroundings) -> MemoryTransport:
    return MemoryTransport(MemoryBucket(clock=surroundings.clock))


@pytest.fixture
def held(transport: MemoryTransport, surroundings: Surroundings) -> Holding:
    """Return a function that holds a lock, perhaps by way of another transport."""

    def begin(*, is_exclusive: bool = False, version: int = 2, by=transport):
        return hold(by, KEY, surroundings, version=version, is_exclusive=is_exclusive)

    return begin


def locks(transport: MemoryTransport) -> list[FoundLock]:
    return list(read_locks(transport, BlobCodec(KEY, os.urandom)))


def remove_locks(transport: MemoryTransport) -> None:
    for found in locks(transport):
        transport.delete(found.name)


def said(surroundings: Surroundings) -> list[str]:
    return [line.text for line in surroundings.events.of(LogLine)]


def striking(transport: MemoryTransport, verb: str, phase: Phase, action) -> FaultyTransport:
    return FaultyTransport(
        transport,
        lambda operation, now: action() if operation.verb == verb and now is phase else None,
    )


@pytest.mark.parametrize("is_exclusive", [True, False])
def test_a_lock_stands_there_until_the_work_ends(transport, held, is_exclusive):
    with held(is_exclusive=is_exclusive) as require:
        require()
        require.check()
        [found] = locks(transport)
        assert found.lock
        assert found.lock.exclusive is is_exclusive
        assert (found.lock.pid, found.lock.uid) == (os.getpid(), os.getuid())
    assert transport.objects == {}


def test_a_lock_goes_when_the_work_fails(transport, held):
    with pytest.raises(ZeroDivisionError), held():
        raise ZeroDivisionError
    assert transport.objects == {}


def test_many_share_and_one_excludes(transport, held):
    with held(), held() as require:
        require()
        with pytest.raises(RepositoryLocked), held(is_exclusive=True):
            pass
        assert len(locks(transport)) == 2
    with held(is_exclusive=True):
        for is_exclusive in (True, False):
            with pytest.raises(RepositoryLocked), held(is_exclusive=is_exclusive):
                pass
        assert len(locks(transport)) == 1


def test_locks_of_version_one_are_not_compressed(transport, held):
    with held(version=1):
        [sealed] = transport.objects.values()
        fields = json.loads(Sealer(KEY, os.urandom).open(sealed))
    assert fields["pid"] == os.getpid()


def test_of_two_that_begin_at_once_at_least_one_gives_up(transport, held):
    others = held(is_exclusive=True)

    def collide() -> None:
        # Somebody who looked before our lock was there writes one right after it.
        if not others_began:
            others_began.append(others.__enter__())

    others_began: list[Hold] = []
    by = striking(transport, "put", Phase.BEFORE, collide)
    with pytest.raises(RepositoryLocked), held(by=by):
        pass
    assert len(locks(transport)) == 1
    others.__exit__(None, None, None)


def test_a_lock_that_was_seen_late_stops_whoever_asks_before_publishing(
    transport, surroundings, held
):
    with held() as require:
        late = f"locks/{'0' * 64}"
        transport.put(late, [_exclusive(transport, surroundings)])
        with pytest.raises(RepositoryLocked):
            require()
        transport.delete(late)
        with pytest.raises(RepositoryLocked):
            require.check()


def _exclusive(transport: MemoryTransport, surroundings: Surroundings) -> bytes:
    """Return what an exclusive lock looks like."""
    aside = MemoryTransport(MemoryBucket(clock=surroundings.clock))
    with hold(aside, KEY, surroundings, version=2, is_exclusive=True):
        [content] = aside.objects.values()
    return content


def test_others_have_two_tenths_of_a_second_to_see_the_lock(surroundings, held):
    before = surroundings.clock.monotonic_seconds()
    with held() as require:
        assert surroundings.clock.monotonic_seconds() == before
        surroundings.clock.advance(0.05)
        require()
        assert surroundings.clock.monotonic_seconds() == pytest.approx(before + 0.2)
        require()
        assert surroundings.clock.monotonic_seconds() == pytest.approx(before + 0.2)


def test_who_worked_longer_than_that_waits_for_nothing(surroundings, held):
    with held() as require:
        surroundings.clock.advance(5)
        before = surroundings.clock.monotonic_seconds()
        require()
        assert surroundings.clock.monotonic_seconds() == before


def test_a_lock_that_others_removed_ends_the_work(transport, held):
    with held() as require:
        require()
        remove_locks(transport)
        with pytest.raises(RepositoryLocked, match="removed meanwhile"):
            require()
        with pytest.raises(RepositoryLocked, match="removed meanwhile"):
            require.check()


class TestRefreshing:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(holding, "REFRESH_SECONDS", 0.01)

    @staticmethod
    def _wait_until(is_so: Callable[[], bool]) -> None:
        while not is_so():
            threading.Event().wait(0.005)

    def test_a_lock_is_replaced_while_its_holder_works(self, transport, surroundings, held):
        seen: set[str] = set()

        def several() -> bool:
            surroundings.clock.advance(1)
            seen.update(transport.objects)
            assert transport.objects
            return len(seen) >= 4

        with held() as require:
            self._wait_until(several)
            require()
        assert transport.objects == {}

    def test_the_new_lock_is_there_before_the_old_one_goes(self, transport, held):
        recording = RecordingTransport(transport)
        with held(by=recording):
            self._wait_until(lambda: recording.count("delete") >= 2)
        order = [one.verb for one in recording.operations if one.verb in {"put", "delete"}]
        assert order[:4] == ["put", "put", "delete", "put"]

    def test_a_lock_that_others_removed_does_not_come_back(self, transport, held):
        with held() as require:
            remove_locks(transport)
            self._wait_until(lambda: bool(require._lost))
            assert transport.objects == {}
            with pytest.raises(RepositoryLocked, match="removed meanwhile"):
                require.check()

    def test_a_lock_removed_while_it_is_refreshed_does_not_come_back(self, transport, held):
        puts: list[int] = []

        def strike() -> None:
            puts.append(1)
            if len(puts) == 2:
                before = [found.name for found in locks(transport)]
                transport.delete(before[0])

        with held(by=striking(transport, "put", Phase.BEFORE, strike)) as require:
            self._wait_until(lambda: bool(require._lost))
        assert transport.objects == {}

    def test_a_destination_that_fails_for_a_while_is_borne(self, transport, surroundings, held):
        is_failing = False

        def strike() -> None:
            if is_failing:
                raise TransportUnavailable("no answer")

        with held(by=striking(transport, "put", Phase.BEFORE, strike)) as require:
            is_failing = True
            self._wait_until(lambda: len(said(surroundings)) >= 2)
            is_failing = False
            [name] = transport.objects
            self._wait_until(lambda: bool(transport.objects) and name not in transport.objects)
            require()
        assert "could not be refreshed: no answer" in said(surroundings)[0]
        assert transport.objects == {}


class TestOverdue:
    def test_a_holder_that_slept_goes_on_if_its_lock_still_stands(
        self, transport, surroundings, held
    ):
        with held() as require:
            [before] = transport.objects
            surroundings.clock.set(surroundings.clock.now() + timedelta(hours=9))
            require.check()
            [after] = transport.objects
            assert before != after
            require()

    def test_a_holder_that_slept_while_others_removed_its_lock_does_not(
        self, transport, surroundings, held
    ):
        with held() as require:
            surroundings.clock.set(surroundings.clock.now() + timedelta(hours=9))
            remove_locks(transport)
            with pytest.raises(RepositoryLocked, match="removed meanwhile"):
                require.check()
            with pytest.raises(RepositoryLocked, match="removed meanwhile"):
                require()

    @pytest.mark.parametrize("minutes", [22, 23])
    def test_a_holder_that_cannot_refresh_stops_before_others_take_it_for_dead(
        self, transport, surroundings, held, minutes
    ):
        is_failing = False

        def strike() -> None:
            if is_failing:
                raise TransportUnavailable("no answer")

        with held(by=striking(transport, "put", Phase.BEFORE, strike)) as require:
            require()
            is_failing = True
            surroundings.clock.advance(60 * minutes)
            if minutes == 22:
                require.check()
                require()
            else:
                for look in (require.check, require):
                    with pytest.raises(RepositoryLocked, match=r"in time.*: no answer"):
                        look()


class TestOnAFullDisk:
    def test_a_shared_lock_needs_room(self, transport, held):
        transport.bucket.capacity_bytes = 0
        with pytest.raises(StorageFull), held():
            pass

    def test_an_exclusive_one_goes_without_and_says_so_once(self, transport, surroundings, held):
        transport.bucket.capacity_bytes = 0
        with held(is_exclusive=True) as require:
            require()
            require()
            require.check()
            assert transport.objects == {}
            transport.bucket.capacity_bytes = None
            require()
            assert len(locks(transport)) == 1
        assert transport.objects == {}
        [line] = said(surroundings)
        assert "no room" in line

    def test_others_exclude_all_the_same(self, transport, held):
        with held():
            transport.bucket.capacity_bytes = 1
            with pytest.raises(RepositoryLocked), held(is_exclusive=True):
                pass

    def test_others_who_come_later_end_the_work(self, transport, held):
        transport.bucket.capacity_bytes = 0
        with held(is_exclusive=True) as require:
            require()
            transport.bucket.capacity_bytes = None
            with held(), pytest.raises(RepositoryLocked):
                require()


def test_a_place_that_cannot_be_written_is_named(transport, held):
    refuse = raising(AccessRefused("read-only"))
    by = striking(transport, "put", Phase.BEFORE, refuse)
    with (
        pytest.raises(AccessRefused, match="fake:memory cannot be written: read-only"),
        held(by=by),
    ):
        pass


def test_a_lock_that_cannot_be_removed_is_reported(transport, surroundings, held):
    refuse = raising(AccessRefused("append-only"))
    with held(by=striking(transport, "delete", Phase.BEFORE, refuse)) as require:
        require()
    assert "could not be removed: append-only" in said(surroundings)[0]


def test_a_holder_in_another_thread_does_not_let_restic_ask(transport, held):
    hosts: list[str] = []

    def work() -> None:
        with held():
            hosts.extend(found.lock.hostname for found in locks(transport) if found.lock)

    before = signal.getsignal(signal.SIGHUP)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert hosts[0] == hosts[1] + NOT_ASKED
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_lock_that_this_process_left_is_in_nobodys_way(transport, surroundings, held):
    with held(by=striking(transport, "delete", Phase.BEFORE, raising(AccessRefused("not now")))):
        pass
    assert len(locks(transport)) == 1
    with held(is_exclusive=True) as require:
        require()
    assert not locks(transport)
