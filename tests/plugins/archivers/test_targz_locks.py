"""Locks exclude the living, and nobody else."""

import os
import socket
import subprocess
import sys
from datetime import timedelta

import msgspec
import pytest

from backapp_core import processes
from backapp_core.errors import AccessRefused, RepositoryLocked
from backapp_core.testing.fakes import FrozenClock, MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase
from backapp_plugins.archivers.targz import locks


@pytest.fixture
def frozen(workbench):
    return workbench(clock=FrozenClock())


def _put_lock(bench, **changes: object) -> str:
    facts = {
        "is_exclusive": True,
        "refreshed_at": bench.surroundings.clock.now(),
        "hostname": "another-machine",
        "pid": 1,
        "system": "their-id their-boot pid:[1]",
        "process_started": "1",
        **changes,
    }
    name = f"locks/{os.urandom(16).hex()}.json"
    bench.transport.put(name, [msgspec.json.encode(facts)])
    return name


def _ours(**changes: object) -> dict[str, object]:
    return {
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "system": processes.system_ids(),
        "process_started": processes.process_started(os.getpid()),
        **changes,
    }


def _locks(bench) -> list[str]:
    return [name for name in bench.bucket.objects if name.startswith("locks/")]


def test_a_fresh_lock_of_another_machine_excludes(frozen):
    name = _put_lock(frozen)
    for verb in (frozen.back_up, frozen.clean_up, frozen.forget):
        with pytest.raises(RepositoryLocked, match="another-machine"):
            verb()
    assert _locks(frozen) == [name]


def test_a_backup_excludes_removal_and_no_backup(frozen):
    _put_lock(frozen, is_exclusive=False)
    frozen.back_up()
    for verb in (frozen.clean_up, frozen.forget):
        with pytest.raises(RepositoryLocked):
            verb()


@pytest.mark.parametrize(
    ("minutes", "counts"), [(29, True), (31, False), (-29, True), (-31, False)]
)
def test_a_lock_that_nobody_refreshed_for_half_an_hour_is_removed(frozen, minutes, counts):
    at = frozen.surroundings.clock.now() - timedelta(minutes=minutes)
    _put_lock(frozen, refreshed_at=at)
    if counts:
        with pytest.raises(RepositoryLocked):
            frozen.back_up()
    else:
        frozen.back_up()
        assert _locks(frozen) == []


@pytest.mark.skipif(sys.platform != "linux", reason="processes are known by /proc")
class TestOnThisMachine:
    def test_a_living_process_excludes_however_the_clock_jumps(self, frozen):
        for days in (0, 365, -365):
            at = frozen.surroundings.clock.now() + timedelta(days=days)
            name = _put_lock(frozen, refreshed_at=at, **_ours())
            with pytest.raises(RepositoryLocked):
                frozen.back_up()
            frozen.transport.delete(name)

    def test_a_dead_process_does_not(self, frozen):
        with subprocess.Popen(["/bin/true"]) as process:
            process.wait()
        _put_lock(frozen, **_ours(pid=process.pid))
        frozen.back_up()
        assert _locks(frozen) == []

    def test_a_process_that_is_dead_but_not_yet_buried_does_not(self, frozen):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert os.path.exists(f"/proc/{child}")
        _put_lock(frozen, **_ours(pid=child))
        frozen.back_up()
        os.waitpid(child, 0)
        assert _locks(frozen) == []

    def test_another_process_of_the_same_number_does_not(self, frozen):
        _put_lock(frozen, **_ours(process_started="12345"))
        frozen.back_up()

    def test_a_process_before_the_last_restart_does_not(self, frozen):
        machine, _, table = processes.system_ids().split()
        _put_lock(frozen, **_ours(system=f"{machine} another-boot {table}"))
        if machine == "none":
            with pytest.raises(RepositoryLocked):
                frozen.back_up()
        else:
            frozen.back_up()

    def test_a_process_of_another_container_counts_until_it_is_stale(self, frozen):
        machine, boot, _ = processes.system_ids().split()
        _put_lock(frozen, **_ours(system=f"{machine} {boot} pid:[4]"))
        with pytest.raises(RepositoryLocked):
            frozen.back_up()
        frozen.surroundings.clock.advance(1900)
        frozen.back_up()


def test_a_stale_lock_that_may_not_be_removed_is_passed_over(frozen):
    """As where only locks of one's own may be deleted."""
    at = frozen.surroundings.clock.now() - timedelta(hours=1)
    name = _put_lock(frozen, refreshed_at=at)

    def refuse(operation, _phase):
        if operation.verb == "delete" and operation.name == name:
            raise AccessRefused("only your own")

    guarded = FaultyTransport(MemoryTransport(frozen.bucket), refuse)
    frozen.back_up(repository=frozen.open(guarded))
    assert _locks(frozen) == [name]


def test_a_lock_cut_short_counts_until_it_is_stale(workbench):
    bench = workbench(clock=FrozenClock())
    bench.bucket.clock = bench.surroundings.clock
    bench.transport.put("locks/00000000000000000000000000000000.json", [b'{"is_excl'])
    with pytest.raises(RepositoryLocked, match="cannot be read"):
        bench.back_up()
    bench.surroundings.clock.advance(1900)
    bench.back_up()
    assert _locks(bench) == []


def test_a_backup_whose_lock_was_removed_publishes_nothing(frozen):
    (frozen.source / "file").write_bytes(b"content")

    def strike(operation, now):
        if operation.name.startswith("manifests/") and now is Phase.AFTER:
            for name in _locks(frozen):
                frozen.transport.delete(name)

    repository = frozen.open(FaultyTransport(MemoryTransport(frozen.bucket), strike))
    with pytest.raises(RepositoryLocked, match="removed"):
        frozen.back_up(repository=repository)
    assert [name for name in frozen.bucket.objects if name != "backapp.json"] == []


def test_a_removal_whose_lock_was_removed_removes_nothing(frozen):
    snapshot = frozen.back_up()

    def strike(operation, now):
        if operation.name.startswith("snapshots/") and operation.verb == "read":
            for name in _locks(frozen):
                frozen.transport.delete(name)

    frozen.repository = frozen.open(FaultyTransport(MemoryTransport(frozen.bucket), strike))
    with pytest.raises(RepositoryLocked, match="removed"):
        frozen.forget(snapshot)
    assert list(frozen.repository.snapshots()) == [snapshot]


def test_a_lock_is_refreshed_while_its_holder_works(frozen, monkeypatch):
    monkeypatch.setattr(locks, "REFRESH_SECONDS", 0.01)
    seen: set[bytes] = set()

    def strike(operation, now):
        if (
            operation.name.startswith("archives/")
            and now is Phase.BEFORE
            and operation.verb == "put"
        ):
            while len(seen) < 3:
                frozen.surroundings.clock.advance(1)
                standing = frozen.bucket.objects.items()
                seen.update(data for name, data in standing if name.startswith("locks/"))

    frozen.back_up(repository=frozen.open(FaultyTransport(MemoryTransport(frozen.bucket), strike)))
    assert _locks(frozen) == []


def test_refreshing_replaces_no_object(frozen, monkeypatch):
    """Each lock is a new one, for there are places where nothing can be replaced."""
    monkeypatch.setattr(locks, "REFRESH_SECONDS", 0.01)
    seen: list[str] = []

    def strike(operation, now):
        if operation.verb == "put" and operation.name.startswith("locks/") and now is Phase.BEFORE:
            seen.append(operation.name)
        if operation.verb == "put" and operation.name.startswith("archives/"):
            while len(seen) < 3:
                frozen.surroundings.clock.advance(1)

    frozen.back_up(repository=frozen.open(FaultyTransport(MemoryTransport(frozen.bucket), strike)))
    assert len(set(seen)) == len(seen) >= 3
    assert _locks(frozen) == []


def test_a_lock_that_was_removed_does_not_come_back_to_life(frozen, monkeypatch):
    monkeypatch.setattr(locks, "REFRESH_SECONDS", 0.01)
    removed: list[str] = []
    transport = MemoryTransport(frozen.bucket)

    def strike(operation, now):
        if operation.verb == "put" and operation.name.startswith("locks/") and now is Phase.AFTER:
            standing = _locks(frozen)
            if len(standing) == 2:  # the second one has just been written
                removed.append(next(name for name in standing if name != operation.name))
                transport.delete(removed[0])
        if operation.verb == "put" and operation.name.startswith("archives/"):
            while not removed or _locks(frozen):
                frozen.surroundings.clock.advance(1)

    repository = frozen.open(FaultyTransport(transport, strike))
    with pytest.raises(RepositoryLocked, match="removed"):
        frozen.back_up(repository=repository)
    assert _locks(frozen) == []
