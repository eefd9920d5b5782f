"""What every transport must do.

::

    class TestMine(TransportContract):
        @pytest.fixture
        def reopen(self, tmp_path):
            return lambda: open_mine(MineSettings(tmp_path), make_surroundings(tmp_path))
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from backapp_core.errors import (
    InvalidName,
    ObjectExists,
    ObjectMissing,
    RunCancelled,
    TransferCut,
)
from backapp_core.ports.transports import CanTidy, Transport
from backapp_core.testing.fakes import repeatable_random_bytes

_CHUNK_LIMIT_BYTES = 4 << 20
_MANY_OBJECTS = 1_050
_WRITERS = 8

GOOD_NAMES = (
    "config",
    "snapshots/0af3",
    "data/00/00ff",
    "a b/c d",
    "with.dots/and-dashes_and+plus",
    "percent%20and#hash&and=",
    "Übergröße/日本語/emoji-😀",
    "é",
    "tilde~/[brackets]{braces}(round)",
    "x" * 200,
)
"""Names that every transport stores."""

BAD_NAMES = (
    "",
    "/",
    "/absolute",
    "ends/",
    "a//b",
    ".",
    "..",
    "../up",
    "a/../b",
    "a/.hidden",
    ".hidden",
    "back\\slash",
    "nul\0",
    "line\nbreak",
    "c:drive",
    "star*",
    "question?",
    "e\u0301",
    "\ud800",
    "x" * 201,
    "/".join(["y" * 100] * 6),
)
"""Names that every method of every transport refuses."""


class TransportContract:
    """Inherit it and supply `reopen`; override the declared differences where there are some."""

    @pytest.fixture
    def reopen(self) -> Callable[[], Transport]:
        """Opens a transport at one address where nothing was stored yet, any number of times."""
        raise NotImplementedError

    @pytest.fixture
    def creates_exclusively(self) -> bool:
        """Whether of several writers of one new name at the same time exactly one succeeds.

        Where this is declared False the loser of such a race may replace what the winner stored.
        """
        return True

    @pytest.fixture
    def largest_object_bytes(self) -> int:
        """How large an object the kit may store."""
        return 64 << 20

    @pytest.fixture
    def place_foreign(self) -> Callable[[str], None]:
        """Puts something at the address by other means, under a name that no object may have.

        Does nothing where only objects can stand.
        """
        return lambda _name: None

    @pytest.fixture
    def transport(self, reopen: Callable[[], Transport]) -> Iterator[Transport]:
        """The transport under test, ready for its first object."""
        with reopen() as transport:
            transport.prepare()
            yield transport

    # --- storing and reading

    def test_what_is_put_comes_back(self, transport: Transport) -> None:
        """Under any allowed name."""
        for name in GOOD_NAMES:
            assert transport.put(name, [name.encode(), b"", b"two"]) == len(name.encode()) + 3
        for name in GOOD_NAMES:
            assert transport.read(name) == name.encode() + b"two"
            assert transport.stat(name).name == name
        assert _names(transport, "") == sorted(GOOD_NAMES)

    def test_any_size_comes_back(self, transport: Transport) -> None:
        """With its size said and not said."""
        for size_bytes in (0, 1, (1 << 20) - 1, 1 << 20, (4 << 20) + 1):
            data = repeatable_random_bytes(1)(size_bytes)
            said, unsaid = f"said/{size_bytes}", f"unsaid/{size_bytes}"
            assert transport.put(said, [data], size_bytes=size_bytes) == size_bytes
            assert transport.put(unsaid, _in_pieces(data, 300_007)) == size_bytes
            assert transport.read(said) == data
            assert transport.read(unsaid) == data
            assert transport.stat(unsaid).size_bytes == size_bytes

    def test_no_chunks_make_an_empty_object(self, transport: Transport) -> None:
        """An empty object is an object."""
        assert transport.put("empty", []) == 0
        assert transport.read("empty") == b""
        assert transport.stat("empty").size_bytes == 0

    def test_a_large_stream_of_unknown_size_comes_back(
        self, transport: Transport, largest_object_bytes: int
    ) -> None:
        """Chunks are asked for as they are sent, and none that is read is longer than 4 MiB."""
        block = repeatable_random_bytes(2)(1 << 20)
        count = largest_object_bytes // len(block)
        body = (index.to_bytes(8, "big") + block[8:] for index in range(count))
        assert transport.put("large", body) == count * len(block)
        rest = b""
        index = 0
        for chunk in transport.get("large"):
            assert len(chunk) <= _CHUNK_LIMIT_BYTES
            rest += chunk
            while len(rest) >= len(block):
                assert rest[:8] == index.to_bytes(8, "big")
                assert rest[8 : len(block)] == block[8:]
                rest = rest[len(block) :]
                index += 1
        assert (index, rest) == (count, b"")

    def test_ranges_are_exact(self, transport: Transport) -> None:
        """What lies beyond the end is not there."""
        data = b"0123456789"
        transport.put("object", [data])
        for offset in (0, 3, 9, 10, 11, 10_000_000):
            for length_bytes in (None, 0, 1, 4, 10, 11):
                end = None if length_bytes is None else offset + length_bytes
                expected = data[offset:end]
                chunks = transport.get("object", offset=offset, length_bytes=length_bytes)
                assert b"".join(chunks) == expected
                read = transport.read("object", offset=offset, length_bytes=length_bytes)
                assert read == expected

    def test_ranges_of_a_large_object_are_exact(self, transport: Transport) -> None:
        """Across chunks, too."""
        data = repeatable_random_bytes(3)(9 << 20)
        transport.put("object", [data])
        for offset, length_bytes in ((1, 5 << 20), (4 << 20, 4 << 20), ((9 << 20) - 3, 100)):
            assert (
                transport.read("object", offset=offset, length_bytes=length_bytes)
                == (data[offset : offset + length_bytes])
            )

    def test_iterators_may_be_closed_early(self, transport: Transport) -> None:
        """Whether or not they were begun, and often; the transport goes on working."""
        transport.put("object", [b"x" * (5 << 20)])
        for attempt in range(40):
            chunks = transport.get("object")
            if attempt % 2:
                assert next(chunks)
            _close(chunks)
        for _ in range(3):
            infos = transport.list()
            assert next(infos).name == "object"
            _close(infos)
        assert transport.read("object", length_bytes=1) == b"x"

    # --- what is not there

    def test_absent_objects_are_missed_at_once(self, transport: Transport) -> None:
        """Opening happens before the first chunk is asked for."""
        transport.put("folder/object", [b"x"])
        for name in ("absent", "folder", "folder/absent", "absent/object", "folder/object/below"):
            with pytest.raises(ObjectMissing):
                transport.get(name)
            with pytest.raises(ObjectMissing):
                transport.read(name, offset=1, length_bytes=1)
            with pytest.raises(ObjectMissing):
                transport.stat(name)

    def test_deleting_what_is_absent_is_fine(self, transport: Transport) -> None:
        """It deletes nothing else either."""
        transport.put("folder/object", [b"x"])
        for name in ("absent", "folder", "absent/object", "folder/absent"):
            transport.delete(name)
        assert [info.name for info in transport.list()] == ["folder/object"]

    def test_what_is_deleted_is_gone(self, transport: Transport) -> None:
        """Its name can be used again."""
        transport.put("folder/object", [b"old"])
        transport.delete("folder/object")
        with pytest.raises(ObjectMissing):
            transport.read("folder/object")
        assert [*transport.list()] == []
        transport.put("folder/object", [b"new"])
        assert transport.read("folder/object") == b"new"

    def test_bad_names_are_refused_everywhere(self, transport: Transport) -> None:
        """And nothing is asked of the body or stored."""
        for name in BAD_NAMES:
            for call in _calls(transport, name):
                with pytest.raises(InvalidName):
                    call()
        assert [*transport.list()] == []

    def test_a_prefix_must_be_a_folder(self, transport: Transport) -> None:
        """No transport lists by half a name."""
        with pytest.raises(InvalidName):
            transport.list("half")

    # --- all or nothing

    def test_an_existing_object_is_not_replaced(self, transport: Transport) -> None:
        """Unless that is asked for."""
        transport.put("object", [b"original"])
        with pytest.raises(ObjectExists):
            transport.put("object", [b"other"])
        assert transport.read("object") == b"original"
        transport.put("object", [b"replaced"], replace=True)
        assert transport.read("object") == b"replaced"
        assert [info.size_bytes for info in transport.list()] == [8]

    def test_replacing_what_is_absent_creates_it(self, transport: Transport) -> None:
        """There is no need to look first."""
        transport.put("folder/object", [b"new"], replace=True)
        assert transport.read("folder/object") == b"new"

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_body_that_raises_stores_nothing(
        self, transport: Transport, *, replace: bool
    ) -> None:
        """Its exception passes unchanged; this is also how a run is cancelled."""
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
                assert _names(transport, "") == (["object"] if replace else [])
        if replace:
            assert transport.read("object") == b"original"
        _assert_nothing_to_tidy(transport)

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_body_of_another_size_stores_nothing(
        self, transport: Transport, *, replace: bool
    ) -> None:
        """Shorter or longer."""
        if replace:
            transport.put("object", [b"original"])
        for said_bytes in (0, 1, 5, 7, 100):
            with pytest.raises(TransferCut):
                transport.put("object", [b"abc", b"def"], size_bytes=said_bytes, replace=replace)
        assert [info.size_bytes for info in transport.list()] == ([8] if replace else [])
        _assert_nothing_to_tidy(transport)

    @pytest.mark.parametrize("replace", [False, True])
    def test_readers_see_the_former_state_until_put_returns(
        self, transport: Transport, reopen: Callable[[], Transport], *, replace: bool
    ) -> None:
        """Through this transport and through another, while a long body is on its way."""
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
                transport.put(name, _in_pieces(data, 7_001))
                assert transport.read(name) == data
                assert transport.read(name, offset=6, length_bytes=3) == data[6:9]
                assert name in {info.name for info in transport.list(f"{worker}/")}
            transport.delete(f"{worker}/0")

        with ThreadPoolExecutor(_WRITERS) as pool:
            assert [*pool.map(work, range(_WRITERS))] == [None] * _WRITERS
        assert len([*transport.list()]) == _WRITERS * 7

    # --- listing

    def test_an_address_where_nothing_was_stored_lists_nothing(
        self, reopen: Callable[[], Transport]
    ) -> None:
        """Before it was made ready and afterwards; making ready twice is fine."""
        with reopen() as transport:
            assert [*transport.list()] == []
            assert [*transport.list("snapshots/")] == []
            with pytest.raises(ObjectMissing):
                transport.stat("config")
            transport.delete("config")
            transport.prepare()
            transport.prepare()
            assert [*transport.list()] == []

    def test_a_folder_lists_what_is_below_it(self, transport: Transport) -> None:
        """At any depth, and nothing whose name merely begins alike."""
        names = ["a", "ab/c", "a b/d", "snapshots/1", "snapshots/2/3", "snapshots-old/4"]
        for name in names:
            transport.put(name, [name.encode()])
        assert _names(transport, "") == sorted(names)
        assert _names(transport, "snapshots/") == ["snapshots/1", "snapshots/2/3"]
        assert _names(transport, "snapshots/2/") == ["snapshots/2/3"]
        assert _names(transport, "ab/") == ["ab/c"]
        assert _names(transport, "absent/") == []
        for info in transport.list():
            assert info == transport.stat(info.name)
            assert info.size_bytes == len(info.name)

    def test_many_objects_are_listed_exactly_once(self, transport: Transport) -> None:
        """More than any page of answers holds."""
        names = [f"data/{number % 7}/{number:04d}" for number in range(_MANY_OBJECTS)]
        with ThreadPoolExecutor(_WRITERS) as pool:
            stored = [pool.submit(transport.put, name, [b"x"]) for name in names]
            assert sum(future.result() for future in stored) == len(names)
        assert _names(transport, "data/") == sorted(names)

    def test_what_is_no_object_is_not_listed(
        self, transport: Transport, place_foreign: Callable[[str], None]
    ) -> None:
        """Whoever put it there."""
        transport.put("folder/object", [b"x"])
        for name in (".hidden", "folder/.hidden", "e\u0301", "folder/col:on"):
            place_foreign(name)
        assert _names(transport, "") == ["folder/object"]
        assert _names(transport, "folder/") == ["folder/object"]

    def test_listing_goes_on_while_objects_come_and_go(self, transport: Transport) -> None:
        """Those that stay are seen exactly once."""
        for number in range(20):
            transport.put(f"stays/{number}", [b"x"])
            transport.put(f"goes/{number}", [b"x"])
        seen: list[str] = []
        for number, info in enumerate(transport.list()):
            seen.append(info.name)
            if number < 20:
                transport.delete(f"goes/{number}")
                transport.put(f"comes/{number}", [b"x"])
        stayed = sorted(name for name in seen if name.startswith("stays/"))
        assert stayed == sorted(f"stays/{number}" for number in range(20))
        assert len(seen) == len(set(seen))

    # --- the whole

    def test_objects_outlive_the_transport(self, reopen: Callable[[], Transport]) -> None:
        """Another transport at the same address finds them; closing twice is fine."""
        with reopen() as first:
            first.prepare()
            first.put("folder/object", [b"kept"])
        first.close()
        with reopen() as second:
            assert second.read("folder/object") == b"kept"
            assert second.address == first.address

    def test_tidying_leaves_objects_and_living_writers_alone(self, transport: Transport) -> None:
        """Even when asked to remove temporary files of any age."""
        transport.put("object", [b"x"])

        def body() -> Iterator[bytes]:
            yield b"a" * (2 << 20)
            _assert_nothing_to_tidy(transport)
            yield b"b"

        transport.put("folder/other", body())
        assert _names(transport, "") == ["folder/other", "object"]
        assert transport.stat("folder/other").size_bytes == (2 << 20) + 1


def _names(transport: Transport, prefix: str) -> Sequence[str]:
    return sorted(info.name for info in transport.list(prefix))


def _in_pieces(data: bytes, piece_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(data), piece_bytes):
        yield data[start : start + piece_bytes]


def _breaking(error: BaseException, after: int) -> Iterator[bytes]:
    for _ in range(after):
        yield b"x" * 300_000
    raise error


def _calls(transport: Transport, name: str) -> Sequence[Callable[[], object]]:
    """Return every call that takes a name."""
    return (
        lambda: transport.put(name, _unwanted()),
        lambda: transport.put(name, _unwanted(), replace=True),
        lambda: transport.get(name),
        lambda: transport.read(name),
        lambda: transport.stat(name),
        lambda: transport.delete(name),
        lambda: transport.list(name + "/"),
    )


def _unwanted() -> Iterable[bytes]:
    def fail(_: int) -> bytes:
        raise AssertionError("the body was asked for")

    return map(fail, [0])


def _close(iterator: Iterator[object]) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _assert_nothing_to_tidy(transport: Transport) -> None:
    if isinstance(transport, CanTidy):
        assert transport.tidy(older_than_seconds=0) == 0
