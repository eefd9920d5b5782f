"""What every transport must do.

::

    class TestMine(TransportContract):
        @pytest.fixture
        def reopen(self, tmp_path):
            return lambda: open_mine(MineSettings(tmp_path), make_surroundings(tmp_path))
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from backapp_core.errors import InvalidName, ObjectMissing
from backapp_core.ports.transports import Transport
from backapp_core.testing.fakes import repeatable_random_bytes
from backapp_core.testing.transport_atomicity import AtomicityCases
from backapp_core.testing.transport_fixtures import (
    assert_nothing_to_tidy,
    close_early,
    in_pieces,
    names_in,
    unwanted,
)

_PIECE_BYTES = 3 << 19
_CHUNK_LIMIT_BYTES = 4 << 20
_MANY_OBJECTS = 1_050
_THREADS = 8

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


class TransportContract(AtomicityCases):
    """Inherit it and supply `reopen`; override the declared differences where there are some."""

    # --- storing and reading

    def test_what_is_put_comes_back(self, transport: Transport) -> None:
        """Under any allowed name."""
        for name in GOOD_NAMES:
            assert transport.put(name, [name.encode(), b"", b"two"]) == len(name.encode()) + 3
        for name in GOOD_NAMES:
            assert transport.read(name) == name.encode() + b"two"
            assert transport.stat(name).name == name
        assert names_in(transport, "") == sorted(GOOD_NAMES)

    def test_any_size_comes_back(self, transport: Transport) -> None:
        """With its size said and not said."""
        for size_bytes in (0, 1, (1 << 20) - 1, 1 << 20, (4 << 20) + 1):
            data = repeatable_random_bytes(1)(size_bytes)
            said, unsaid = f"said/{size_bytes}", f"unsaid/{size_bytes}"
            assert transport.put(said, [data], size_bytes=size_bytes) == size_bytes
            assert transport.put(unsaid, in_pieces(data, 300_007)) == size_bytes
            assert transport.read(said) == data
            assert transport.read(unsaid) == data
            assert transport.stat(unsaid).size_bytes == size_bytes

    def test_chunks_may_be_views_that_hold_until_the_next(self, transport: Transport) -> None:
        """Their memory is used again for the next one; whoever needs them longer copies them."""
        data = repeatable_random_bytes(4)(3 * _PIECE_BYTES + 17)
        pieces = range(0, len(data), _PIECE_BYTES)

        def body() -> Iterator[memoryview]:
            memory = bytearray(_PIECE_BYTES)
            for start in pieces:
                piece = data[start : start + _PIECE_BYTES]
                memory[: len(piece)] = piece
                with memoryview(memory) as whole, whole[: len(piece)] as view:
                    yield view

        for name, size_bytes in (("said", len(data)), ("unsaid", None)):
            assert transport.put(name, body(), size_bytes=size_bytes) == len(data)
            assert transport.read(name) == data

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
        for attempt in range(24):
            chunks = transport.get("object")
            if attempt % 2:
                assert next(chunks)
            close_early(chunks)
        for _ in range(3):
            infos = transport.list()
            assert next(infos).name == "object"
            close_early(infos)
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
        assert names_in(transport, "") == sorted(names)
        assert names_in(transport, "snapshots/") == ["snapshots/1", "snapshots/2/3"]
        assert names_in(transport, "snapshots/2/") == ["snapshots/2/3"]
        assert names_in(transport, "ab/") == ["ab/c"]
        assert names_in(transport, "absent/") == []
        for info in transport.list():
            assert info == transport.stat(info.name)
            assert info.size_bytes == len(info.name)

    def test_many_objects_are_listed_exactly_once(self, transport: Transport) -> None:
        """More than any page of answers holds."""
        names = [f"data/{number % 7}/{number:04d}" for number in range(_MANY_OBJECTS)]
        with ThreadPoolExecutor(_THREADS) as pool:
            stored = [pool.submit(transport.put, name, [b"x"]) for name in names]
            assert sum(future.result() for future in stored) == len(names)
        assert names_in(transport, "data/") == sorted(names)

    def test_what_is_no_object_is_not_listed(
        self, transport: Transport, place_foreign: Callable[[str], None]
    ) -> None:
        """Whoever put it there."""
        transport.put("folder/object", [b"x"])
        for name in (".hidden", "folder/.hidden", "e\u0301", "folder/col:on"):
            place_foreign(name)
        assert names_in(transport, "") == ["folder/object"]
        assert names_in(transport, "folder/") == ["folder/object"]

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
            assert_nothing_to_tidy(transport)
            yield b"b"

        transport.put("folder/other", body())
        assert names_in(transport, "") == ["folder/other", "object"]
        assert transport.stat("folder/other").size_bytes == (2 << 20) + 1


def _calls(transport: Transport, name: str) -> Sequence[Callable[[], object]]:
    """Return every call that takes a name."""
    return (
        lambda: transport.put(name, unwanted()),
        lambda: transport.put(name, unwanted(), replace=True),
        lambda: transport.get(name),
        lambda: transport.read(name),
        lambda: transport.stat(name),
        lambda: transport.delete(name),
        lambda: transport.list(name + "/"),
    )
