"""Transports that record, fail, die or lie on purpose; they wrap any other.

A sweep over every point at which a run can be struck::

    recording = RecordingTransport(inner)
    run(recording)
    for number, phase in points(recording.operations):
        # in a child process:
        run(FaultyTransport(inner, strike_at(number, phase, kill_this_process)))
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NoReturn, TypeVar

from attrs import frozen
from typing_extensions import override

from backapp_core.ports.transports import Body, CanTidy, ObjectInfo, Transport

_CHUNK_BYTES = 4 << 20
_Item = TypeVar("_Item")


class Phase(StrEnum):
    """When, within an operation, something strikes."""

    BEFORE = "before"
    """Nothing was done yet."""
    DURING = "during"
    """After the first chunk (put, get, read) or item (list)."""
    AFTER = "after"
    """All was done but the caller does not know it."""


@frozen
class Operation:
    """One call of a transport's method."""

    number: int
    """Counted from 1, in the order of the calls."""
    verb: str
    """Name of the method: ``put``, ``get``, ``read``, ``list`` and so on."""
    name: str
    """The object or folder that was named; empty if none was."""


Strike = Callable[[Operation, Phase], None]
"""Called at every point; returns to let the operation go on, raises, or does not return at all."""

_WITH_A_MIDDLE = frozenset({"put", "get", "list"})


def points(operations: Iterable[Operation]) -> Sequence[tuple[int, Phase]]:
    """Return every point at which ``operations`` can be struck, the middles where there are any."""
    return [
        (operation.number, phase)
        for operation in operations
        for phase in Phase
        if phase is not Phase.DURING or operation.verb in _WITH_A_MIDDLE
    ]


def strike_at(number: int, phase: Phase, action: Callable[[], None]) -> Strike:
    """Return a strike that does ``action`` at one point."""

    def strike(operation: Operation, now: Phase) -> None:
        if operation.number == number and now is phase:
            action()

    return strike


def strike_first(times: int, action: Callable[[], None], *verbs: str) -> Strike:
    """Return a strike that does ``action`` before the first ``times`` calls of ``verbs``."""
    lock = threading.Lock()
    left = times

    def strike(operation: Operation, now: Phase) -> None:
        nonlocal left
        if now is not Phase.BEFORE or (verbs and operation.verb not in verbs):
            return
        with lock:
            is_struck, left = left > 0, left - 1
        if is_struck:
            action()

    return strike


def raising(error: BaseException) -> Callable[[], None]:
    """Return an action that raises ``error``."""

    def action() -> NoReturn:
        raise error

    return action


def kill_this_process() -> None:
    """End this process at once, as ``kill -9`` and a power cut do."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultyTransport(Transport):
    """Counts operations and asks a strike at each point; does everything else as ``inner`` does."""

    def __init__(self, inner: Transport, strike: Strike) -> None:
        self._inner = inner
        self._strike = strike
        self._lock = threading.Lock()
        self._operations: list[Operation] = []

    @property
    def operations(self) -> Sequence[Operation]:
        """What was called until now."""
        with self._lock:
            return tuple(self._operations)

    @property
    @override
    def address(self) -> str:
        return self._inner.address

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        operation = self._begin("put", name)
        body = self._struck_midway(operation, body)
        stored_bytes = self._inner.put(name, body, size_bytes=size_bytes, replace=replace)
        self._strike(operation, Phase.AFTER)
        return stored_bytes

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        operation = self._begin("get", name)
        chunks = self._inner.get(name, offset=offset, length_bytes=length_bytes)
        return self._struck_to_the_end(operation, chunks)

    @override
    def read(self, name: str, *, offset: int = 0, length_bytes: int | None = None) -> bytes:
        operation = self._begin("read", name)
        data = self._inner.read(name, offset=offset, length_bytes=length_bytes)
        self._strike(operation, Phase.AFTER)
        return data

    @override
    def stat(self, name: str) -> ObjectInfo:
        operation = self._begin("stat", name)
        info = self._inner.stat(name)
        self._strike(operation, Phase.AFTER)
        return info

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        operation = self._begin("list", prefix)
        return self._struck_to_the_end(operation, self._inner.list(prefix))

    @override
    def delete(self, name: str) -> None:
        operation = self._begin("delete", name)
        self._inner.delete(name)
        self._strike(operation, Phase.AFTER)

    @override
    def prepare(self) -> None:
        operation = self._begin("prepare", "")
        self._inner.prepare()
        self._strike(operation, Phase.AFTER)

    @override
    def close(self) -> None:
        self._inner.close()

    def tidy(self, *, older_than_seconds: float) -> int:
        """Tidy if the inner transport can, else remove nothing."""
        operation = self._begin("tidy", "")
        removed = 0
        if isinstance(self._inner, CanTidy):
            removed = self._inner.tidy(older_than_seconds=older_than_seconds)
        self._strike(operation, Phase.AFTER)
        return removed

    def _begin(self, verb: str, name: str) -> Operation:
        with self._lock:
            operation = Operation(len(self._operations) + 1, verb, name)
            self._operations.append(operation)
        self._strike(operation, Phase.BEFORE)
        return operation

    def _struck_midway(self, operation: Operation, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield ``items`` and strike after the first, or at the end if there is none.

        The receiver asks for the second item when it has dealt with the first.
        """
        is_struck = False
        for item in items:
            yield item
            if not is_struck:
                is_struck = True
                self._strike(operation, Phase.DURING)
        if not is_struck:
            self._strike(operation, Phase.DURING)

    def _struck_to_the_end(self, operation: Operation, items: Iterator[_Item]) -> Iterator[_Item]:
        try:
            yield from self._struck_midway(operation, items)
            self._strike(operation, Phase.AFTER)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()


class RecordingTransport(FaultyTransport):
    """Counts and remembers operations; nothing strikes."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner, lambda _operation, _phase: None)

    def count(self, verb: str) -> int:
        """Return how often ``verb`` was called."""
        return sum(operation.verb == verb for operation in self.operations)


class DamagingTransport(FaultyTransport):
    """Gives back other bytes than were stored; sizes are those of the true objects."""

    def __init__(self, inner: Transport, damage: Callable[[str, bytes], bytes]) -> None:
        """Let ``damage`` turn each object's name and content into what readers get."""
        super().__init__(inner, lambda _operation, _phase: None)
        self._damage = damage

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        data = self.read(name, offset=offset, length_bytes=length_bytes)
        return (data[at : at + _CHUNK_BYTES] for at in range(0, len(data), _CHUNK_BYTES))

    @override
    def read(self, name: str, *, offset: int = 0, length_bytes: int | None = None) -> bytes:
        data = self._damage(name, super().read(name))
        end = len(data) if length_bytes is None else offset + length_bytes
        return data[offset:end]


def flip_bit(data: bytes, bit: int) -> bytes:
    """Return ``data`` with one bit the other way round; ``bit`` counts on from the start again."""
    if not data:
        return data
    position = (bit >> 3) % len(data)
    return data[:position] + bytes([data[position] ^ (1 << (bit & 7))]) + data[position + 1 :]


def flipping(left: dict[str, int]) -> Callable[[str, bytes], bytes]:
    """Return a damage that flips a bit in the next ``left[name]`` answers about each object."""

    def damage(asked: str, data: bytes) -> bytes:
        if left.get(asked, 0) <= 0:
            return data
        left[asked] -= 1
        return flip_bit(data, len(data) * 4)

    return damage


DAMAGES = ("flip", "half", "zero", "delete", "swap", "older", "append")
"""What may happen to a stored object; see `damaged`."""


def damaged(
    objects: Mapping[str, bytes], name: str, damage: str, *, peers: Sequence[str], bit: int
) -> dict[str, bytes]:
    """Return the objects with one of them damaged; the same ones if it cannot be so.

    Args:
        objects: Contents by name.
        name: The object that is damaged.
        damage: One of `DAMAGES`.
        peers: Objects of its sort in order, with it or without: it changes places with the last
            other one, or becomes what the first other one is.
        bit: Which bit is flipped, see `flip_bit`.
    """
    changed, data = dict(objects), objects[name]
    others = [other for other in peers if other != name]
    if damage == "delete":
        del changed[name]
    elif damage == "swap" and others:
        changed[name], changed[others[-1]] = objects[others[-1]], data
    elif damage == "older" and others:
        changed[name] = objects[others[0]]
    elif damage not in {"swap", "older"}:
        changed[name] = {
            "flip": flip_bit(data, bit),
            "half": data[: len(data) // 2],
            "zero": b"",
            "append": data + b"\0",
        }[damage]
    return changed
