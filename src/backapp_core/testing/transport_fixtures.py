"""What the cases of the transport contract share: fixtures and a few helpers."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from backapp_core.errors import AccessRefused
from backapp_core.ports.transports import CanTidy, Transport


class TransportFixtures:
    """The fixtures to supply and the declared differences."""

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
    def may_replace(self) -> bool:
        """Whether objects can be replaced at all.

        Where this is declared False, being asked to raises `AccessRefused` and changes nothing.
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


def names_in(transport: Transport, prefix: str) -> Sequence[str]:
    """Return the names of what is listed below ``prefix``, in order."""
    return sorted(info.name for info in transport.list(prefix))


def in_pieces(data: bytes, piece_bytes: int) -> Iterator[bytes]:
    """Yield ``data`` in chunks of ``piece_bytes``."""
    for start in range(0, len(data), piece_bytes):
        yield data[start : start + piece_bytes]


def close_early(iterator: Iterator[object]) -> None:
    """Close ``iterator`` if that can be done, as a caller does who has seen enough."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def assert_cannot_replace(transport: Transport, name: str) -> None:
    """Ask for what is declared impossible; the body is not asked for."""
    former = [*transport.list()]
    with pytest.raises(AccessRefused):
        transport.put(name, unwanted(), replace=True)
    assert [*transport.list()] == former


def unwanted() -> Iterable[bytes]:
    """Return a body that must not be asked for."""

    def fail(_: int) -> bytes:
        raise AssertionError("the body was asked for")

    return map(fail, [0])


def assert_nothing_to_tidy(transport: Transport) -> None:
    """Look for temporary files, where a transport has such; living writers keep theirs."""
    if isinstance(transport, CanTidy):
        assert transport.tidy(older_than_seconds=0) == 0
