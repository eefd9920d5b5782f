"""Looks at what is to be backed up while the key of the repository is being made.

Making a key of a password keeps one core busy for half a second, in native code that leaves the
interpreter alone; a scan is mostly Python.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import final

from attrs import evolve, frozen
from typing_extensions import override

from backapp_core.clock import Clock
from backapp_core.events import Event, EventSink
from backapp_core.model.requests import BackupRequest
from backapp_core.ports.closing import Closing
from backapp_core.ports.packed_entries import PackedEntries
from backapp_core.ports.scanners import FoundDirectory, Scanner
from backapp_core.ports.surroundings import Keys, Surroundings

_MOST_AHEAD = 100_000
"""So many entries, directories included, are looked at before anybody asks for them.

About what can be looked at in that half a second; packed, they take some 7 MB.
"""


@final
class HeldEvents:
    """Keeps events back until it is certain that they matter; for any thread."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._held: list[Event] | None = []

    def __call__(self, event: Event) -> None:
        """Keep an event, or pass it on if others were."""
        with self._lock:
            if self._held is not None:
                self._held.append(event)
                return
        self._events(event)

    def let_go(self) -> None:
        """Pass on what was kept, and all that comes."""
        with self._lock:
            held, self._held = self._held or [], None
        for event in held:
            self._events(event)


@final
class AheadScanner(Scanner, Closing):
    """Another scanner, whose scan may begin before it is asked for.

    It runs in a thread of its own until `rest` is called, and then in the one that goes on with
    it; never in two at once. It begins at most once.
    """

    def __init__(self, inner: Scanner, held: HeldEvents, clock: Clock) -> None:
        """Wrap ``inner``, which tells what it finds to ``held``."""
        self.roots = inner.roots
        self.has_streams = inner.has_streams
        self.is_read_elsewhere = inner.is_read_elsewhere
        self.began_at = None
        self._inner = inner
        self._held = held
        self._clock = clock
        self._found: deque[FoundDirectory] = deque()
        self._scan: Iterator[FoundDirectory] | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._rests = threading.Event()

    def begin(self) -> None:
        """Begin; harmless if it has begun. A stream is made only when it is asked for."""
        if self._thread is None and not self.has_streams:
            self.began_at = self._clock.now()
            self._thread = threading.Thread(target=self._look, name="scan ahead", daemon=True)
            self._thread.start()

    @contextmanager
    def beginning(self, keys: Keys) -> Generator[Keys]:
        """Begin when the password was given by the keys that this yields, and rest at the end."""
        ask = keys.password

        def password() -> str:
            answer = ask() if ask is not None else ""
            self.begin()
            return answer

        try:
            yield evolve(keys, password=password) if ask is not None else keys
        except BaseException:
            self.close()
            raise
        self.rest()

    def rest(self) -> None:
        """Stop looking; what was found is kept for `scan`."""
        self._rests.set()
        if self._thread is not None:
            self._thread.join()

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        self.rest()
        self._held.let_go()
        try:
            while self._found:
                yield self._found.popleft()
            error, self._error = self._error, None
            if error is not None:
                raise error
            yield from self._scan or self._inner.scan()
        finally:
            self._give_up()

    @override
    def close(self) -> None:
        self.rest()
        self._give_up()

    @override
    def user_name(self, uid: int) -> str:
        return self._inner.user_name(uid)

    @override
    def group_name(self, gid: int) -> str:
        return self._inner.group_name(gid)

    @property
    @override
    def problems(self) -> int:
        return self._inner.problems

    def _look(self) -> None:
        seen = 0
        try:
            self._scan = self._inner.scan()
            for found in self._scan:
                seen += 1 + len(found.entries)
                if found.entries:
                    found.entries = PackedEntries(found.entries)
                self._found.append(found)
                if self._rests.is_set() or seen >= _MOST_AHEAD:
                    return
        except BaseException as error:  # noqa: BLE001  # raised where the scan is asked for
            self._error = error

    def _give_up(self) -> None:
        while self._found:
            self._found.popleft().close()
        scan, self._scan = self._scan, None
        if isinstance(scan, Generator):
            scan.close()


@frozen
class Ahead:
    """A scan that may have begun, and for what."""

    request: BackupRequest
    scanner: AheadScanner


def ahead_of(
    surroundings: Surroundings, open_scanner: Callable[[Surroundings], Scanner]
) -> AheadScanner:
    """Return what ``open_scanner`` opens in surroundings to which nothing is told yet."""
    held = HeldEvents(surroundings.events)
    scanner = open_scanner(evolve(surroundings, events=held))
    return AheadScanner(scanner, held, surroundings.clock)
