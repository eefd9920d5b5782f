"""Who is at work in a repository: lock objects, as restic has them.

Backups hold a shared lock, removal and clean-up an exclusive one. A lock is written first and the
others are looked at afterwards, so of two that collide at least one notices. It is refreshed while
its holder works and counts for nothing once it is half an hour old, or as soon as its holder is
known to be dead: same machine, same boot, and no such process.
"""

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import final

import msgspec

from backapp_core.plugin_api import (
    AccessRefused,
    Level,
    LogLine,
    ObjectInfo,
    ObjectMissing,
    RepositoryLocked,
    StorageFull,
    Surroundings,
    Transport,
    TransportError,
    host_name,
    is_of_earlier_boot,
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
        RepositoryLocked: If another lock excludes this one.
    """
    held = _Held(transport, surroundings, is_exclusive=is_exclusive)
    try:
        held.take()
        yield held.require
    finally:
        held.release()


@final
class _Held:
    def __init__(
        self, transport: Transport, surroundings: Surroundings, *, is_exclusive: bool
    ) -> None:
        self._transport = transport
        self._surroundings = surroundings
        self._is_exclusive = is_exclusive
        self._name = f"{LOCKS}{surroundings.random_bytes(16).hex()}.json"
        self._stop = threading.Event()
        self._refresher: threading.Thread | None = None
        self._may_stand_there = False

    def take(self) -> None:
        """Write the lock, if there is room, between two looks at the others.

        Raises:
            RepositoryLocked: If another lock excludes this one.
            StorageFull: If there is no room for a shared lock.
            AccessRefused: If nothing can be written there.
        """
        self._refuse_beside_others()
        self._may_stand_there = True
        try:
            _write(self._transport, self._surroundings, self._name, is_exclusive=self._is_exclusive)
        except AccessRefused as error:
            self._may_stand_there = False
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
        self._refresher = threading.Thread(
            target=_refresh,
            args=(self._transport, self._surroundings, self._name, self._stop),
            kwargs={"is_exclusive": self._is_exclusive},
            name="lock",
            daemon=True,
        )
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
        if self._may_stand_there:
            _release(self._transport, self._surroundings, self._name)

    def _refuse_beside_others(self) -> None:
        _refuse_beside_others(
            self._transport,
            self._surroundings,
            own=self._name,
            is_exclusive=self._is_exclusive,
        )


def _write(
    transport: Transport, surroundings: Surroundings, name: str, *, is_exclusive: bool
) -> None:
    lock = Lock(
        is_exclusive=is_exclusive,
        refreshed_at=surroundings.clock.now(),
        hostname=host_name(),
        pid=os.getpid(),
        system=system_ids(),
        process_started=process_started(os.getpid()),
    )
    data = msgspec.json.encode(lock)
    transport.put(name, [data], size_bytes=len(data), replace=True)


def _release(transport: Transport, surroundings: Surroundings, name: str) -> None:
    try:
        transport.delete(name)
    except TransportError as error:
        # The work is done or has its own error; this process will be dead soon, and then the lock
        # counts for nothing.
        surroundings.events(
            LogLine(Level.WARNING, f"the lock {name} could not be removed: {error.message}")
        )


def _refresh(
    transport: Transport,
    surroundings: Surroundings,
    name: str,
    stop: threading.Event,
    *,
    is_exclusive: bool,
) -> None:
    while not stop.wait(REFRESH_SECONDS):
        try:
            # Only a lock that still stands is refreshed: one that others removed must not come back
            # to life.
            transport.stat(name)
            _write(transport, surroundings, name, is_exclusive=is_exclusive)
        except ObjectMissing:
            return
        except TransportError as error:
            surroundings.events(
                LogLine(Level.WARNING, f"the lock could not be refreshed: {error.message}")
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
            transport.delete(info.name)
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
            transport.delete(info.name)
            return None
        raise RepositoryLocked(
            f"the lock {info.name} at {transport.address} cannot be read ({error}); "
            "delete it if nobody is at work there"
        ) from error


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
