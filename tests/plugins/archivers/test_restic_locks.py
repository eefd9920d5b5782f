"""Locks exclude the living, and nobody else, whoever wrote them."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from attrs import evolve

from backapp_core import processes
from backapp_core.errors import AccessRefused, RepositoryLocked
from backapp_core.events import LogLine, Recording
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.faults import DamagingTransport, FaultyTransport, flip_bit
from backapp_plugins.archivers.restic.access.locks import (
    NOT_ASKED,
    Lock,
    clear_way,
    read_locks,
    unlock,
)
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import id_of
from backapp_plugins.archivers.restic.format.unpacked import seal_document

KEY = MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)
CODEC = BlobCodec(KEY, os.urandom)


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return evolve(make_surroundings(tmp_path), events=Recording())


@pytest.fixture
def transport(surroundings: Surroundings) -> MemoryTransport:
    return MemoryTransport(MemoryBucket(clock=surroundings.clock))


@pytest.fixture
def put(transport: MemoryTransport, surroundings: Surroundings) -> Callable[..., str]:
    """Return a function that stores a lock as restic would, with other fields on request."""

    def store(*, raw: bytes | None = None, version: int = 2, **changes: object) -> str:
        fields = {
            "time": surroundings.clock.now(),
            "exclusive": True,
            "hostname": "another-machine",
            "username": "somebody",
            "pid": 4711,
            **changes,
        }
        document = msgspec.json.encode(fields) if raw is None else raw
        sealed = seal_document(CODEC, document, version=version)
        name = f"locks/{id_of(sealed).hex()}"
        transport.put(name, [sealed])
        return name

    return store


def ours(**changes: object) -> dict[str, object]:
    """Return fields of a lock of this very process."""
    holder = {
        "system": changes.pop("system", processes.system_ids()),
        "started": changes.pop("started", processes.process_started(os.getpid())),
    }
    fields = {"hostname": socket.gethostname(), "pid": os.getpid(), "backapp": holder}
    return {**fields, **changes}


def clear(transport, surroundings, *, is_exclusive=False, own=()):
    clear_way(transport, CODEC, surroundings, own=own, is_exclusive=is_exclusive)


def said(surroundings: Surroundings) -> list[str]:
    return [line.text for line in surroundings.events.of(LogLine)]


@pytest.mark.parametrize(
    ("theirs", "mine", "is_excluded"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_an_exclusive_lock_tolerates_no_other(
    transport, surroundings, put, theirs, mine, is_excluded
):
    name = put(exclusive=theirs)
    if is_excluded:
        with pytest.raises(RepositoryLocked, match="process 4711 of somebody on another-machine"):
            clear(transport, surroundings, is_exclusive=mine)
    else:
        clear(transport, surroundings, is_exclusive=mine)
    assert list(transport.objects) == [name]


def test_locks_of_ones_own_do_not_count(transport, surroundings, put):
    names = {put(), put()}
    clear(transport, surroundings, is_exclusive=True, own=names)


@pytest.mark.parametrize("version", [1, 2])
def test_locks_of_either_version_are_read(transport, put, version):
    put(version=version, uid=1000, gid=100)
    [found] = read_locks(transport, CODEC)
    assert found.lock
    assert (found.lock.uid, found.lock.gid, found.lock.backapp) == (1000, 100, None)


def test_times_of_restic_are_read(transport, put):
    raw = (
        b'{"time":"2026-11-25T13:34:29.975016831+01:30","exclusive":false,"hostname":"h",'
        b'"username":"u","pid":1,"new":{"key":0}}'
    )
    put(raw=raw)
    [found] = read_locks(transport, CODEC)
    assert found.lock
    assert found.lock.time == datetime.fromisoformat("2026-11-25T13:34:29.975017+01:30")


@pytest.mark.parametrize(
    ("minutes", "counts"), [(29, True), (31, False), (-29, True), (-31, False)]
)
def test_a_lock_that_nobody_refreshed_for_half_an_hour_is_removed(
    transport, surroundings, put, minutes, counts
):
    put(time=surroundings.clock.now() - timedelta(minutes=minutes))
    if counts:
        with pytest.raises(RepositoryLocked):
            clear(transport, surroundings)
    else:
        clear(transport, surroundings)
        assert transport.objects == {}
        assert "removed the lock of process 4711" in said(surroundings)[0]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_ends_of_the_calendar_do_no_harm(transport, surroundings, put, time):
    put(time=time)
    clear(transport, surroundings)
    assert transport.objects == {}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are known by /proc")
class TestOnThisMachine:
    def test_a_living_process_excludes_however_the_clock_jumps(self, transport, surroundings, put):
        for days in (0, 365, -365):
            name = put(time=surroundings.clock.now() + timedelta(days=days), **ours())
            with pytest.raises(RepositoryLocked):
                clear(transport, surroundings)
            transport.delete(name)

    def test_a_dead_process_does_not(self, transport, surroundings, put):
        with subprocess.Popen(["/bin/true"]) as process:
            process.wait()
        put(**ours(pid=process.pid))
        clear(transport, surroundings)
        assert transport.objects == {}

    def test_a_process_that_is_dead_but_not_yet_buried_does_not(self, transport, surroundings, put):
        with subprocess.Popen(["/bin/true"]) as process:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            put(**ours(pid=process.pid))
            clear(transport, surroundings)
        assert transport.objects == {}

    def test_another_process_of_the_same_number_does_not(self, transport, surroundings, put):
        put(**ours(started="12345"))
        clear(transport, surroundings)

    def test_a_process_that_would_not_survive_restics_question_is_known(
        self, transport, surroundings, put
    ):
        put(**ours(hostname=socket.gethostname() + NOT_ASKED, started="12345"))
        clear(transport, surroundings)

    def test_a_process_before_the_last_restart_does_not(self, transport, surroundings, put):
        machine, _, table = processes.system_ids().split()
        put(**ours(system=f"{machine} another-boot {table}"))
        if machine == "none":
            with pytest.raises(RepositoryLocked):
                clear(transport, surroundings)
        else:
            clear(transport, surroundings)

    def test_a_process_of_another_container_counts_until_it_is_stale(
        self, transport, surroundings, put
    ):
        machine, boot, _ = processes.system_ids().split()
        put(**ours(system=f"{machine} {boot} pid:[4]"))
        with pytest.raises(RepositoryLocked):
            clear(transport, surroundings)
        surroundings.clock.advance(1900)
        clear(transport, surroundings)

    def test_a_dead_process_of_restic_counts_until_somebody_unlocks(
        self, transport, surroundings, put
    ):
        with subprocess.Popen(["/bin/true"]) as process:
            process.wait()
        name = put(hostname=socket.gethostname(), pid=process.pid)
        with pytest.raises(RepositoryLocked, match="run unlock"):
            clear(transport, surroundings)
        removed = unlock(transport, CODEC, surroundings, remove_all=False)
        assert [found.name for found in removed] == [name]
        clear(transport, surroundings)


@pytest.mark.parametrize("pid", [0, -1, 1 << 70])
def test_no_process_is_disturbed_by_being_looked_for(pid):
    assert not processes.process_exists(pid)


def test_a_lock_of_no_bytes_is_passed_over(transport, surroundings):
    transport.put(f"locks/{'0' * 64}", [])
    clear(transport, surroundings, is_exclusive=True)


def test_what_is_named_otherwise_is_no_lock(transport, surroundings):
    transport.put("locks/readme", [b"not sealed"])
    clear(transport, surroundings, is_exclusive=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[",
        b'{"x":' + b"[" * 9999,
        b'{"time":"2026-01-01T00:00:00","exclusive":true,"hostname":"","username":"","pid":1}',
        b'{"time":"2026-01-01T00:00:00Z","exclusive":true,"hostname":"\xff","username":"","pid":1}',
        b'{"time":"never","exclusive":true,"hostname":"","username":"","pid":1}',
    ],
)
def test_a_lock_that_cannot_be_read_counts_until_it_is_stale(transport, surroundings, put, raw):
    name = put(raw=raw)
    with pytest.raises(RepositoryLocked, match=f"{name} .* cannot be read .* --remove-all"):
        clear(transport, surroundings)
    surroundings.clock.advance(1900)
    clear(transport, surroundings)
    assert transport.objects == {}
    assert "which cannot be read" in said(surroundings)[0]


@pytest.mark.parametrize("content", [b"x", b"x" * 100, b"x" * (1 << 20)])
def test_a_lock_that_is_not_sealed_counts_until_it_is_stale(transport, surroundings, content):
    transport.put(f"locks/{'0' * 64}", [content])
    with pytest.raises(RepositoryLocked, match="cannot be read"):
        clear(transport, surroundings)
    assert unlock(transport, CODEC, surroundings, remove_all=False) == []
    surroundings.clock.advance(1900)
    clear(transport, surroundings)


def test_one_bad_transfer_is_no_damage(transport, surroundings, put):
    put(exclusive=False)
    reads = iter([True, False])
    flaky = DamagingTransport(
        transport, lambda name, data: flip_bit(data, 200) if next(reads) else data
    )
    clear(flaky, surroundings)


def test_a_lock_released_between_listing_and_reading_does_not_count(transport, surroundings, put):
    name = put()

    def strike(operation, now):
        if operation.verb == "read":
            transport.delete(name)

    clear(FaultyTransport(transport, strike), surroundings)


def test_a_stale_lock_that_may_not_be_removed_is_passed_over(transport, surroundings, put):
    """As where only locks of one's own may be deleted."""
    name = put(time=surroundings.clock.now() - timedelta(hours=1))

    def refuse(operation, _phase):
        if operation.verb == "delete":
            raise AccessRefused("only your own")

    guarded = FaultyTransport(transport, refuse)
    clear_way(guarded, CODEC, surroundings, own=frozenset(), is_exclusive=True)
    assert list(transport.objects) == [name]
    assert surroundings.events.of(LogLine) == []


def test_unlocking_removes_what_is_stale_and_says_what(transport, surroundings, put):
    old = put(time=surroundings.clock.now() - timedelta(minutes=31))
    living = {put(), put(**ours())}
    removed = unlock(transport, CODEC, surroundings, remove_all=False)
    assert [(found.name, found.lock is not None) for found in removed] == [(old, True)]
    assert set(transport.objects) == living


def test_all_locks_are_removed_on_request(transport, surroundings, put):
    names = {put(), put(**ours()), put(raw=b"{}")}
    removed = unlock(transport, CODEC, surroundings, remove_all=True)
    assert {found.name for found in removed} == names
    assert transport.objects == {}


def test_a_lock_is_written_in_the_words_of_restic(surroundings):
    lock = Lock(
        time=surroundings.clock.now(), exclusive=False, hostname="h", username="u", pid=7, gid=3
    )
    assert msgspec.json.encode(lock) == (
        b'{"time":"2026-01-01T00:00:00Z","exclusive":false,"hostname":"h","username":"u",'
        b'"pid":7,"gid":3}'
    )
