"""The part of the transport contract about all or nothing, and about several at a time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from backapp_core.errors import ObjectExists, ObjectMissing, RunCancelled, TransferCut
from backapp_core.ports.transports import Transport
from backapp_core.testing.transport_fixtures import (
    TransportFixtures,
    assert_cannot_replace,
    assert_nothing_to_tidy,
    in_pieces,
    names_in,
)

_WRITERS = 8


class AtomicityCases(TransportFixtures):
    """Inherited by `TransportContract`."""

    # --- all or nothing

    def test_an_existing_object_is_not_replaced(
        self, transport: Transport, *, may_replace: bool
    ) -> None:
        """Unless that is asked for."""
        transport.put("object", [b"original"])
        with pytest.raises(ObjectExists):
            transport.put("object", [b"other"])
        assert transport.read("object") == b"original"
        if not may_replace:
            assert_cannot_replace(transport, "object")
            return
        transport.put("object", [b"replaced"], replace=True)
        assert transport.read("object") == b"replaced"
        assert [info.size_bytes for info in transport.list()] == [8]

    def test_replacing_what_is_absent_creates_it(
        self, transport: Transport, *, may_replace: bool
    ) -> None:
        """There is no need to look first."""
        if not may_replace:
            assert_cannot_replace(transport, "folder/object")
            return
        transport.put("folder/object", [b"new"], replace=True)
        assert transport.read("folder/object") == b"new"

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_body_that_raises_stores_nothing(
        self, transport: Transport, *, replace: bool, may_replace: bool
    ) -> None:
        """Its exception passes unchanged; this is also how a run is cancelled."""
        if replace and not may_replace:
            assert_cannot_replace(transport, "object")
            return
        if replace:
            transport.put("object", [b"original"])
        errors = (
            RunCancelled("stop"),
            OSError(28, "of the source"),
            KeyboardInterrupt(),
            KeyError(),
        )
        for error in errors:
            for after in (0, 1, 20):
                with pytest.raises(type(error)) as raised:
                    transport.put("object", _breaking(error, after), replace=replace)
                assert raised.value is error
                assert names_in(transport, "") == (["object"] if replace else [])
        if replace:
            assert transport.read("object") == b"original"
        assert_nothing_to_tidy(transport)

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_body_of_another_size_stores_nothing(
        self, transport: Transport, *, replace: bool, may_replace: bool
    ) -> None:
        """Shorter or longer."""
        if replace and not may_replace:
            assert_cannot_replace(transport, "object")
            return
        if replace:
            transport.put("object", [b"original"])
        for said_bytes in (0, 1, 5, 7, 100):
            with pytest.raises(TransferCut):
                transport.put("object", [b"abc", b"def"], size_bytes=said_bytes, replace=replace)
        assert [info.size_bytes for info in transport.list()] == ([8] if replace else [])
        assert_nothing_to_tidy(transport)

    @pytest.mark.parametrize("replace", [False, True])
    def test_readers_see_the_former_state_until_put_returns(
        self,
        transport: Transport,
        reopen: Callable[[], Transport],
        *,
        replace: bool,
        may_replace: bool,
    ) -> None:
        """Through this transport and through another, while a long body is on its way."""
        if replace and not may_replace:
            assert_cannot_replace(transport, "folder/object")
            return
        former = [b"former"] if replace else []
        for data in former:
            transport.put("folder/object", [data])
        with reopen() as other:

            def body() -> Iterator[bytes]:
                for _ in range(3):
                    yield b"new" * 400_000
                    for reader in (transport, other):
                        assert [info.size_bytes for info in reader.list()] == [6] * len(former)
                        if replace:
                            assert reader.read("folder/object") == b"former"
                        else:
                            with pytest.raises(ObjectMissing):
                                reader.stat("folder/object")

            transport.put("folder/object", body(), replace=replace)
            assert other.stat("folder/object").size_bytes == 3_600_000

    # --- several at a time

    def test_one_of_racing_writers_wins(
        self, reopen: Callable[[], Transport], *, creates_exclusively: bool
    ) -> None:
        """What stands there afterwards is what one writer sent, whole."""
        barrier = threading.Barrier(_WRITERS)
        with reopen() as shared:
            shared.prepare()

            def write(writer: int) -> bytes | None:
                data = bytes([writer]) * 100_000

                def body() -> Iterator[bytes]:
                    yield data[:50_000]
                    barrier.wait(20)
                    yield data[50_000:]

                with reopen() as own:
                    try:
                        (own if writer % 2 else shared).put("folder/object", body())
                    except ObjectExists:
                        return None
                return data

            with ThreadPoolExecutor(_WRITERS) as pool:
                winners = [data for data in pool.map(write, range(_WRITERS)) if data]
            assert winners
            assert shared.read("folder/object") in winners
            assert [info.name for info in shared.list()] == ["folder/object"]
            if creates_exclusively:
                assert len(winners) == 1

    def test_many_threads_share_one_transport(self, transport: Transport) -> None:
        """Each stores, reads, lists and deletes its own."""

        def work(worker: int) -> None:
            for number in range(8):
                name = f"{worker}/{number}"
                data = f"{name};".encode() * 5_000
                transport.put(name, in_pieces(data, 7_001))
                assert transport.read(name) == data
                assert transport.read(name, offset=6, length_bytes=3) == data[6:9]
                assert name in {info.name for info in transport.list(f"{worker}/")}
            transport.delete(f"{worker}/0")

        with ThreadPoolExecutor(_WRITERS) as pool:
            assert [*pool.map(work, range(_WRITERS))] == [None] * _WRITERS
        assert len([*transport.list()]) == _WRITERS * 7


def _breaking(error: BaseException, after: int) -> Iterator[bytes]:
    for _ in range(after):
        yield b"x" * 300_000
    raise error
