"""Faults strike where they are told to, once, and nowhere else."""

import os
import signal
import threading

import pytest

from backapp_core.errors import ObjectExists, ObjectMissing, TransportUnavailable
from backapp_core.ports.transports import CanTidy
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport
from backapp_core.testing.faults import (
    DamagingTransport,
    FaultyTransport,
    Phase,
    RecordingTransport,
    flip_bit,
    kill_this_process,
    points,
    raising,
    strike_at,
    strike_first,
)
from backapp_core.testing.transport_contract import TransportContract

LOST = TransportUnavailable("the line went dead")


class TestRecording(TransportContract):
    @pytest.fixture
    def reopen(self):
        bucket = MemoryBucket()
        return lambda: RecordingTransport(MemoryTransport(bucket))


def life(transport):
    """Use every method once; returns what was learnt."""
    transport.prepare()
    transport.put("a", [b"12", b"34"])
    transport.put("a", [b"56"], replace=True)
    learnt = [b"".join(transport.get("a")), transport.read("a", offset=1), transport.stat("a").name]
    learnt.append([info.name for info in transport.list()])
    transport.delete("a")
    learnt.append(transport.tidy(older_than_seconds=0))
    return learnt


def test_every_call_is_one_operation():
    transport = RecordingTransport(MemoryTransport())
    assert life(transport) == [b"56", b"6", "a", ["a"], 0]
    assert [(one.number, one.verb, one.name) for one in transport.operations] == [
        (1, "prepare", ""),
        (2, "put", "a"),
        (3, "put", "a"),
        (4, "get", "a"),
        (5, "read", "a"),
        (6, "stat", "a"),
        (7, "list", ""),
        (8, "delete", "a"),
        (9, "tidy", ""),
    ]
    assert transport.count("put") == 2
    assert len(points(transport.operations)) == 9 * 2 + 4


def test_every_point_strikes_once_and_only_before_does_nothing():
    recording = RecordingTransport(MemoryTransport())
    life(recording)
    sweep = points(recording.operations)
    for number, phase in sweep:
        fired = []
        inner = MemoryTransport()

        def action(fired=fired):
            fired.append(1)
            raise LOST

        transport = FaultyTransport(inner, strike_at(number, phase, action))
        with pytest.raises(TransportUnavailable) as raised:
            life(transport)
        assert raised.value is LOST
        assert fired == [1]
        assert len(transport.operations) == number
        if number == 2:
            assert dict(inner.objects) == ({"a": b"1234"} if phase is Phase.AFTER else {})
        if number == 3:
            assert dict(inner.objects) == {"a": b"56" if phase is Phase.AFTER else b"1234"}


@pytest.mark.parametrize("phase", Phase)
def test_a_process_dies_at_its_point(phase):
    child = os.fork()
    if child == 0:
        try:
            life(FaultyTransport(MemoryTransport(), strike_at(2, phase, kill_this_process)))
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_a_flaky_transport_recovers():
    transport = FaultyTransport(MemoryTransport(), strike_first(2, raising(LOST), "put", "get"))
    transport.prepare()
    for _ in range(2):
        with pytest.raises(TransportUnavailable):
            transport.put("a", [b"x"])
    transport.put("a", [b"x"])
    assert transport.read("a") == b"x"


def test_a_damaged_object_reads_alike_in_ranges_and_as_a_whole():
    inner = MemoryTransport()
    inner.put("a", [b"\0" * (9 << 20)])
    transport = DamagingTransport(inner, lambda name, data: flip_bit(data, 8 * 100 + 3))
    assert transport.read("a", offset=99, length_bytes=3) == b"\0\x08\0"
    whole = b"".join(transport.get("a"))
    assert len(whole) == 9 << 20
    assert [at for at, byte in enumerate(whole) if byte] == [100]
    assert max(len(chunk) for chunk in transport.get("a")) <= 4 << 20
    assert inner.read("a", offset=100, length_bytes=1) == b"\0"
    assert flip_bit(b"", 7) == b""


def test_operations_of_many_threads_have_their_own_numbers():
    transport = RecordingTransport(MemoryTransport())
    threads = [
        threading.Thread(target=lambda: [transport.delete("a") for _ in range(100)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.number for one in transport.operations] == [*range(1, 801)]


def test_errors_of_the_inner_transport_pass():
    transport = RecordingTransport(MemoryTransport())
    with pytest.raises(ObjectMissing):
        transport.get("absent")
    transport.put("a", [])
    with pytest.raises(ObjectExists):
        transport.put("a", [])
    assert isinstance(transport, CanTidy)
