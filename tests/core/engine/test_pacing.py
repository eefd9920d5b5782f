"""What is put around a transport keeps the limits, and is otherwise that transport."""

import inspect
from threading import Barrier, Thread

import pytest
from typing_extensions import get_protocol_members

from backapp_core.engine.addresses import open_transport
from backapp_core.engine.pacing import POWERS, PacedTransport, paced
from backapp_core.errors import ObjectMissing, RunCancelled, TransferCut
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.ports import buckets, transports
from backapp_core.ports.line import Line, Pace
from backapp_core.ports.surroundings import CancelToken
from backapp_core.ports.transports import HasFolder, TransportKind
from backapp_core.testing.fakes import (
    FrozenClock,
    MemoryBucket,
    MemoryTransport,
    WatchedClock,
    make_surroundings,
)
from backapp_core.testing.transport_contract import TransportContract
from backapp_plugins.transports import folder


def limited(tmp_path, *, upload=None, download=None, **more):
    line = Line(upload=Pace(upload), download=Pace(download))
    return make_surroundings(tmp_path, line=line, **more)


class TestPaced(TransportContract):
    """In pieces of 128 KiB, by a clock that is turned by whoever waits."""

    @pytest.fixture
    def reopen(self, tmp_path):
        bucket = MemoryBucket()
        around = limited(tmp_path, upload=1 << 20, download=1 << 20)
        return lambda: PacedTransport(MemoryTransport(bucket), around)


@pytest.fixture
def clock():
    return FrozenClock()


def test_what_is_put_takes_as_long_as_the_line_allows(tmp_path, clock):
    around = limited(tmp_path, upload=80_000, clock=clock)
    transport = PacedTransport(MemoryTransport(), around)
    transport.put("whole", [b"x" * 90_000])
    assert clock.monotonic_seconds() == pytest.approx(1.0)
    transport.put("in-chunks", [b"y" * 10] * 4000)
    assert clock.monotonic_seconds() == pytest.approx(1.5)
    assert transport.read("whole") + transport.read("in-chunks") == b"x" * 90_000 + b"y" * 40_000
    assert clock.monotonic_seconds() == pytest.approx(1.5)


def test_what_is_got_takes_as_long_as_the_line_allows(tmp_path, clock):
    bucket = MemoryBucket({"object": b"x" * (9 << 20)})
    around = limited(tmp_path, download=8 << 20, clock=clock)
    transport = PacedTransport(MemoryTransport(bucket), around)
    chunks = transport.get("object")
    assert clock.monotonic_seconds() == 0
    assert len(next(chunks)) == 4 << 20
    assert clock.monotonic_seconds() == pytest.approx(3 / 8)
    assert sum(map(len, chunks)) == 5 << 20
    assert clock.monotonic_seconds() == pytest.approx(1.0)
    assert len(transport.read("object", offset=1 << 20)) == 8 << 20
    assert clock.monotonic_seconds() == pytest.approx(2.0)
    transport.put("other", [b"x" * (64 << 20)])
    assert clock.monotonic_seconds() == pytest.approx(2.0)


def test_all_transports_share_the_limits(tmp_path, clock):
    around = limited(tmp_path, upload=1000, clock=clock)
    one, two = (PacedTransport(MemoryTransport(), around) for _ in range(2))
    one.put("object", [b"x" * 1125])
    two.put("object", [b"x" * 1000])
    assert clock.monotonic_seconds() == pytest.approx(2.0)


def test_all_threads_share_the_limits(tmp_path, clock):
    transport = PacedTransport(MemoryTransport(), limited(tmp_path, upload=1000, clock=clock))
    barrier = Barrier(4)

    def put(name):
        barrier.wait(30)
        transport.put(name, [b"x" * 1000] * 10)

    threads = [Thread(target=put, args=(f"object{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert clock.monotonic_seconds() >= 40 - 0.125


def test_long_chunks_come_in_pieces_and_short_ones_as_they_are(tmp_path):
    seen = []

    class Collecting(MemoryTransport):
        def put(self, name, body, **_):
            seen.extend((type(piece), bytes(piece)) for piece in body)
            return 0

    transport = PacedTransport(Collecting(), limited(tmp_path, upload=80))
    transport.put("object", [b"", b"123", bytearray(b"abcdefghijklmnopqrstuvw")])
    assert seen == [
        (bytes, b""),
        (bytes, b"123"),
        (memoryview, b"abcdefghij"),
        (memoryview, b"klmnopqrst"),
        (memoryview, b"uvw"),
    ]


def test_a_piece_holds_until_the_next_and_the_chunk_may_be_released_then(tmp_path):
    held = []

    class Keeping(MemoryTransport):
        def put(self, name, body, **_):
            for piece in body:
                if held:
                    with pytest.raises(ValueError, match="released"):
                        held[-1].tobytes()
                held.append(piece)
            return len(held)

    def body():
        for _ in range(2):
            memory = bytearray(b"abcdef")
            with memoryview(memory) as view:
                yield view
            memory.clear()  # raises as long as anybody looks at it

    transport = PacedTransport(Keeping(), limited(tmp_path, upload=16))
    assert transport.put("object", body()) == 6


def test_what_the_body_raises_passes_through_and_nothing_is_stored(tmp_path):
    inner, error = MemoryTransport(), KeyError("mine")

    def body():
        yield b"x" * 100
        raise error

    with pytest.raises(KeyError) as raised:
        PacedTransport(inner, limited(tmp_path, upload=80)).put("object", body())
    assert raised.value is error
    with pytest.raises(TransferCut):
        PacedTransport(inner, limited(tmp_path, upload=80)).put("object", [b"x"], size_bytes=2)
    assert inner.objects == {}


def test_a_wish_to_stop_ends_transfers_in_either_direction(tmp_path):
    token = CancelToken()
    around = limited(
        tmp_path,
        upload=80,
        download=80,
        clock=WatchedClock(seconds=1.25, then=token.cancel),
        cancel=token,
    )
    closed = []

    class Closable(MemoryTransport):
        def get(self, name, **more):
            try:
                yield from super().get(name, **more)
            finally:
                closed.append(name)

    inner = Closable(MemoryBucket({"there": b"x" * 100_000}))
    transport = PacedTransport(inner, around)
    with pytest.raises(RunCancelled):
        transport.put("object", [b"x" * 100_000])
    assert "object" not in inner.objects
    with pytest.raises(RunCancelled):
        transport.read("there")
    assert closed == ["there"]
    assert around.clock.monotonic_seconds() < 2


@pytest.mark.parametrize("is_begun", [False, True])
def test_closing_early_closes_what_is_behind_it_at_once(tmp_path, is_begun):
    closed = []

    class Opened(MemoryTransport):
        def get(self, name, **_):
            def chunks():
                try:
                    yield b""
                    yield b"some"
                    yield b"more"
                finally:
                    closed.append(name)

            opened = chunks()
            next(opened)
            return opened

    chunks = PacedTransport(Opened(), limited(tmp_path, download=1024)).get("object")
    if is_begun:
        next(chunks)
    assert closed == []
    chunks.close()
    assert closed == ["object"]


def test_what_is_missing_is_missed_before_anything_is_read(tmp_path):
    transport = PacedTransport(MemoryTransport(), limited(tmp_path, download=1024))
    with pytest.raises(ObjectMissing):
        transport.get("absent")


def test_every_power_of_a_transport_is_kept_or_speaks_of_a_folder():
    known = {
        value
        for module in (transports, buckets)
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and getattr(value, "_is_runtime_protocol", False)
    }
    assert known == {*POWERS, HasFolder}


def able(power):
    """Return a transport that has one power, and the names of its methods, which echo."""

    def echo(name):
        return lambda _self, *given, **named: (name, given, named)

    names = get_protocol_members(power)
    return type("Able", (MemoryTransport,), {name: echo(name) for name in names})(), names


@pytest.mark.parametrize("power", POWERS)
def test_powers_reach_the_transport_and_no_other_appears(tmp_path, power):
    inner, names = able(power)
    transport = PacedTransport(inner, limited(tmp_path, upload=1024))
    assert [one for one in POWERS if isinstance(transport, one)] == [power]
    assert names
    for name in names:
        assert getattr(transport, name)("a", b=5) == (name, ("a",), {"b": 5})
    assert not isinstance(transport, HasFolder)


def test_without_limits_nothing_is_put_around(tmp_path):
    transport = MemoryTransport()
    assert paced(transport, make_surroundings(tmp_path), paces_uploads=False) is transport


class Far:
    """Opens transports in memory; one sort waits by itself before it sends."""

    @hookimpl
    def backapp_transports(self):
        return [
            TransportKind(
                name, frozenset({name}), str, str, lambda *_: MemoryTransport(), paces_uploads=paces
            )
            for name, paces in (("far", False), ("self", True))
        ]


@pytest.mark.parametrize(
    ("address", "upload_seconds", "download_seconds"),
    [("far:x", 1.0, 1.0), ("self:x", 0.0, 1.0), ("local:PATH", 0.0, 0.0)],
)
def test_what_is_opened_is_limited_unless_it_is_a_folder(
    tmp_path, clock, address, upload_seconds, download_seconds
):
    plugins = PluginManager([("far", "", Far()), ("folder", "", folder)])
    around = limited(tmp_path, upload=8000, download=8000, clock=clock)
    text = address.replace("PATH", str(tmp_path / "repository"))
    with open_transport(plugins, text, around) as transport:
        transport.prepare()
        transport.put("object", [b"x" * 9000])
        assert clock.monotonic_seconds() == pytest.approx(upload_seconds)
        assert len(transport.read("object")) == 9000
        assert clock.monotonic_seconds() == pytest.approx(upload_seconds + download_seconds)
