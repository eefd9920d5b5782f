"""Stand-ins that keep the contracts: memory for disks, hand-turned time, chance that repeats."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import final

from attrs import field, frozen
from typing_extensions import override

from backapp_core.clock import Clock, SystemClock
from backapp_core.errors import ObjectExists, ObjectMissing, StorageFull, TransferCut
from backapp_core.events import EventSink, void
from backapp_core.ports.line import Line
from backapp_core.ports.surroundings import CancelToken, Surroundings
from backapp_core.ports.transports import (
    Body,
    ObjectInfo,
    Transport,
    check_object_name,
    check_object_prefix,
)

_CHUNK_BYTES = 4 << 20
_NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


class FrozenClock(Clock):
    """A clock that stands still until it is turned; waiting turns it."""

    def __init__(self, at: datetime = _NEW_YEAR) -> None:
        self._lock = threading.Lock()
        self._now = at
        self._monotonic_seconds = 0.0

    @override
    def now(self) -> datetime:
        with self._lock:
            return self._now

    @override
    def monotonic_seconds(self) -> float:
        with self._lock:
            return self._monotonic_seconds

    @override
    def wait(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass, on the wall clock and on the monotonic one."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic_seconds += seconds

    def set(self, at: datetime) -> None:
        """Set the wall clock, forwards or back, as a time server does; no time passes."""
        with self._lock:
            self._now = at


@final
class WatchedClock(FrozenClock):
    """A clock whose ``then`` is called once so many seconds were waited for by it."""

    def __init__(
        self, at: datetime = _NEW_YEAR, *, seconds: float, then: Callable[[], None]
    ) -> None:
        super().__init__(at)
        self._seconds = seconds
        self._then: Callable[[], None] | None = then

    @override
    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        if self._then is not None and self.monotonic_seconds() >= self._seconds:
            then, self._then = self._then, None
            then()


class AheadClock(Clock):
    """The real clock, and ahead of it: no file looks as if it might change in the same tick."""

    def __init__(self, ahead_seconds: float = 3600.0) -> None:
        self._clock = SystemClock()
        self._ahead = timedelta(seconds=ahead_seconds)

    @override
    def now(self) -> datetime:
        return self._clock.now() + self._ahead

    @override
    def monotonic_seconds(self) -> float:
        return self._clock.monotonic_seconds()

    @override
    def wait(self, seconds: float) -> None:
        self._clock.wait(seconds)


def repeatable_random_bytes(seed: int = 0) -> Callable[[int], bytes]:
    """Return a ``random_bytes`` that says the same again for the same ``seed``."""
    generator = random.Random(seed)  # noqa: S311  # being guessable is what a test wants
    lock = threading.Lock()

    def random_bytes(count: int) -> bytes:
        with lock:
            return generator.randbytes(count)

    return random_bytes


def make_surroundings(
    folder: Path,
    *,
    clock: Clock | None = None,
    seed: int = 0,
    events: EventSink = void,
    cancel: CancelToken | None = None,
    threads: int = 2,
    line: Line | None = None,
) -> Surroundings:
    """Return surroundings below ``folder``: a `FrozenClock`, chance that repeats, folders made."""
    cache, state = folder / "cache", folder / "state"
    for made in (cache, state):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Surroundings(
        cache_folder=cache,
        state_folder=state,
        clock=clock or FrozenClock(),
        random_bytes=repeatable_random_bytes(seed),
        events=events,
        cancel=cancel or CancelToken(),
        threads=threads,
        line=line or Line(),
    )


@frozen
class _Stored:
    data: bytes
    modified_at: datetime


class MemoryBucket:
    """Objects that outlive the transports that reach them.

    Attributes:
        capacity_bytes: What fits in; None for no limit. May be changed at any time.
    """

    def __init__(
        self,
        objects: Mapping[str, bytes] = MappingProxyType({}),
        *,
        capacity_bytes: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Begin with ``objects``, stored just now."""
        self.capacity_bytes = capacity_bytes
        self.lock = threading.Lock()
        self.clock = clock or FrozenClock()
        now = self.clock.now()
        self.stored = {name: _Stored(data, now) for name, data in objects.items()}

    @property
    def objects(self) -> Mapping[str, bytes]:
        """A copy: name and content of everything stored now."""
        with self.lock:
            return {name: kept.data for name, kept in self.stored.items()}

    def store(self, name: str, data: bytes, *, replace: bool) -> None:
        """Put ``data`` there in one step.

        Raises:
            ObjectExists: If the name is taken and ``replace`` is not set.
            StorageFull: If it does not fit.
        """
        with self.lock:
            if not replace and name in self.stored:
                raise ObjectExists(f"object '{name}' exists already")
            if self.capacity_bytes is not None:
                others = (len(kept.data) for key, kept in self.stored.items() if key != name)
                if sum(others) + len(data) > self.capacity_bytes:
                    raise StorageFull(f"there is no room left in memory for object '{name}'")
            self.stored[name] = _Stored(data, self.clock.now())

    def find(self, name: str) -> _Stored:
        """Return what is stored under ``name``.

        Raises:
            ObjectMissing: If nothing is.
        """
        with self.lock:
            try:
                return self.stored[name]
            except KeyError:
                raise ObjectMissing(f"object '{name}' does not exist") from None

    def discard(self, name: str) -> None:
        """Forget what is stored under ``name``, if anything."""
        with self.lock:
            self.stored.pop(name, None)


@frozen
class MemoryTransport(Transport):
    """A transport whose objects are in memory; several may share one `MemoryBucket`."""

    bucket: MemoryBucket = field(factory=MemoryBucket)

    @property
    @override
    def address(self) -> str:
        return "fake:memory"

    @property
    def objects(self) -> Mapping[str, bytes]:
        """A copy: name and content of everything stored now."""
        return self.bucket.objects

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        check_object_name(name)
        data = b"".join(map(bytes, body))
        if size_bytes is not None and size_bytes != len(data):
            raise TransferCut(
                f"object '{name}' was to have {size_bytes} bytes but {len(data)} came"
            )
        self.bucket.store(name, data, replace=replace)
        return len(data)

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        data = self.bucket.find(check_object_name(name)).data
        end = len(data) if length_bytes is None else min(len(data), offset + length_bytes)
        return (
            data[start : min(start + _CHUNK_BYTES, end)]
            for start in range(offset, end, _CHUNK_BYTES)
        )

    @override
    def stat(self, name: str) -> ObjectInfo:
        kept = self.bucket.find(check_object_name(name))
        return ObjectInfo(name, len(kept.data), kept.modified_at)

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        check_object_prefix(prefix)
        with self.bucket.lock:
            seen = [
                ObjectInfo(name, len(kept.data), kept.modified_at)
                for name, kept in self.bucket.stored.items()
                if name.startswith(prefix)
            ]
        return iter(seen)

    @override
    def delete(self, name: str) -> None:
        self.bucket.discard(check_object_name(name))

    @override
    def prepare(self) -> None:
        """Nothing has to be made ready."""

    @override
    def close(self) -> None:
        """Nothing is held."""
