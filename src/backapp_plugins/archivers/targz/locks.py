"""Who is at work in a repository: lock objects, as restic has them.

Backups hold a shared lock, removal and clean-up an exclusive one. A lock is written first and the
others are looked at afterwards, so of two that collide at least one notices. It is refreshed while
its holder works and counts for nothing once it is half an hour old, or as soon as its holder is
known to be dead: same machine, same boot, and no such process.
"""

import os
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import final

import msgspec

from backapp_core.plugin_api import (
    AccessRefused,
    Level,
    LogLine,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    RepositoryLocked,
    StorageFull,
    Surroundings,
    Transport,
    TransportError,
    host_name,
    is_of_earlier_boot,
    once_free,
    process_started,
    system_ids,
)
from backapp_plugins.archivers.targz.layout import LOCKS

STALE_AFTER = timedelta(minutes=30)
REFRESH_SECONDS = 300.0


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """What a lock object says."""

    is_exclusive: bool
    refreshed_at: datetime
    hostname: str
    pid: int
    system: str
    """Names the machine, its boot and its process table; empty where that cannot be known."""
    process_started: str
    """When it began, in the kernel's count; tells it from a later process of the same number."""

    @property
    def lapses_at(self) -> datetime:
        """When it counts for nothing any more unless it is refreshed."""
        return (self.refreshed_at + STALE_AFTER).astimezone(UTC)


@contextmanager
def hold(
    transport: Transport, surroundings: Surroundings, *, is_exclusive: bool
) -> Generator[Callable[[], None], None, None]:
    """Hold a lock; yields a function that raises unless the lock still stands there.

    On a full disk an exclusive lock that cannot be written does not stop its holder, or nothing
    could ever be removed there: the other locks are looked at all the same, before and whenever
    the function is called, which writes the lock as soon as there is room.

    Raises:
        RepositoryLocked: If another lock excludes this one, after waiting as long as the
            surroundings say.
        RunCancelled: If somebody wishes to stop while it waits.
    """

    def take() -> _Held:
        held = _Held(transport, surroundings, is_exclusive=is_exclusive)
        with ExitStack() as attempt:
            attempt.callback(held.release)
            held.take()
            stack.push(attempt.pop_all())
        return held

    with ExitStack() as stack:
        yield once_free(surroundings, take).require


@contextmanager
def hold_to_read(transport: Transport, surroundings: Surroundings) -> Generator[None]:
    """Hold a shared lock where one can be written: what is read then stays.

    Raises:
        RepositoryLocked: If somebody removes or cleans up.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(transport, surroundings, is_exclusive=False))
        except (AccessRefused, StorageFull) as error:
            text = f"going on without a lock: {error.message}"
            surroundings.events(LogLine(Level.WARNING, text))
        yield


@final
class _Held:
    def __init__(
        self, transport: Transport, surroundings: Surroundings, *, is_exclusive: bool
    ) -> None:
        self._transport = transport
        self._surroundings = surroundings
        self._is_exclusive = is_exclusive
        self._name = self._new_name()
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._refresher: threading.Thread | None = None
        self._may_stand_there: set[str] = set()

    def take(self) -> None:
        """Write the lock, if there is room, between two looks at the others.

        Raises:
            RepositoryLocked: If another lock excludes this one.
            StorageFull: If there is no room for a shared lock.
            AccessRefused: If nothing can be written there.
        """
        self._refuse_beside_others()
        try:
            self._write(self._name)
        except AccessRefused as error:
            self._may_stand_there.clear()
            raise AccessRefused(
                f"the repository at {self._transport.address} cannot be written: {error.message}"
            ) from error
        except StorageFull as error:
            if not self._is_exclusive:
                raise
            self._surroundings.events(
                LogLine(
                    Level.WARNING,
                    f"going on without a lock, for there is no room for one: {error.message}",
                )
            )
            return
        self._refuse_beside_others()
        self._refresher = threading.Thread(target=self._keep_fresh, name="lock", daemon=True)
        self._refresher.start()

    def require(self) -> None:
        """Return if nobody who is excluded can be at work.

        Raises:
            RepositoryLocked: If the lock is gone, or was never there and others came.
        """
        if self._refresher is None:
            self.take()
            return
        try:
            with self._mutex:
                self._transport.stat(self._name)
        except ObjectMissing as error:
            raise RepositoryLocked(
                "the lock of this run was removed meanwhile, so others may have changed the "
                "repository; run it again"
            ) from error

    def release(self) -> None:
        """Remove the lock if it may have been written."""
        self._stop.set()
        if self._refresher is not None:
            self._refresher.join()
        for name in sorted(self._may_stand_there):
            self._remove(name)

    def _keep_fresh(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            try:
                with self._mutex:
                    self._refresh()
            except ObjectMissing:
                return
            except TransportError as error:
                text = f"the lock could not be refreshed: {error.message}"
                self._surroundings.events(LogLine(Level.WARNING, text))

    def _refresh(self) -> None:
        """Put a new lock in the place of the present one; places that replace nothing take it, too.

        Raises:
            ObjectMissing: If the present one was removed: it must not come back to life.
        """
        former, name = self._name, self._new_name()
        self._transport.stat(former)
        self._write(name)
        try:
            self._transport.stat(former)
        except ObjectMissing:
            self._remove(name)
            raise
        self._name = name
        self._remove(former)

    def _new_name(self) -> str:
        return f"{LOCKS}{self._surroundings.random_bytes(16).hex()}.json"

    def _write(self, name: str) -> None:
        lock = Lock(
            is_exclusive=self._is_exclusive,
            refreshed_at=self._surroundings.clock.now(),
            hostname=host_name(),
            pid=os.getpid(),
            system=system_ids(),
            process_started=process_started(os.getpid()),
        )
        data = msgspec.json.encode(lock)
        self._may_stand_there.add(name)
        # The name is nobody else's, chosen by chance: it was stored, and the answer was lost.
        with suppress(ObjectExists):
            self._transport.put(name, [data], size_bytes=len(data))

    def _remove(self, name: str) -> None:
        try:
            self._transport.delete(name)
        except TransportError as error:
            # The work is done or has its own error; this process will be dead soon, and then the
            # lock counts for nothing.
            self._surroundings.events(
                LogLine(Level.WARNING, f"the lock {name} could not be removed: {error.message}")
            )
        else:
            self._may_stand_there.discard(name)

    def _refuse_beside_others(self) -> None:
        _refuse_beside_others(
            self._transport,
            self._surroundings,
            own=self._name,
            is_exclusive=self._is_exclusive,
        )


def _refuse_beside_others(
    transport: Transport, surroundings: Surroundings, *, own: str, is_exclusive: bool
) -> None:
    for info in transport.list(LOCKS):
        if info.name == own:
            continue
        now = surroundings.clock.now()
        lock = _read(transport, info, now)
        if lock is None:
            continue
        if _is_dead(lock, now):
            _clear_away(transport, info)
        elif is_exclusive or lock.is_exclusive:
            work = "removal or clean-up" if lock.is_exclusive else "backup"
            raise RepositoryLocked(
                f"{transport.address} is locked for a {work} by process {lock.pid} on "
                f"{lock.hostname} since {lock.refreshed_at.isoformat(timespec='seconds')}; wait "
                f"until it ends, or if it is dead until {lock.lapses_at:%H:%M} UTC"
            )


def _read(transport: Transport, info: ObjectInfo, now: datetime) -> Lock | None:
    try:
        return msgspec.json.decode(transport.read(info.name), type=Lock)
    except ObjectMissing:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        # Only where the lock cannot say it is the destination's clock believed, which may be off.
        if info.modified_at is not None and now - info.modified_at > STALE_AFTER:
            _clear_away(transport, info)
            return None
        raise RepositoryLocked(
            f"the lock {info.name} at {transport.address} cannot be read ({error}); "
            "delete it if nobody is at work there"
        ) from error


def _clear_away(transport: Transport, info: ObjectInfo) -> None:
    """Remove a lock that counts for nothing; where that is not allowed it harms nobody."""
    with suppress(AccessRefused):
        transport.delete(info.name)


def _is_dead(lock: Lock, now: datetime) -> bool:
    if lock.system and lock.process_started and lock.hostname == host_name():
        if lock.system == system_ids():
            # We see the very process table that it stands in, so no clock has a say: clocks jump.
            return process_started(lock.pid) != lock.process_started
        if is_of_earlier_boot(lock.system):
            return True
    # A lock from the far future was written by a clock that is wrong; it must not stand for years.
    # Should its holder live, it finds the lock gone before it publishes or deletes anything.
    return abs(now - lock.refreshed_at) > STALE_AFTER
