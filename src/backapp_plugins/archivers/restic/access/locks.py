"""Lock objects, as restic writes and reads them: who is at work in a repository.

Reading and adding hold a shared lock, whatever removes or replaces an exclusive one. Ours tell
more than restic's, which passes over it: enough to know for certain that a holder is dead.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from attrs import frozen

from backapp_core.plugin_api import (
    AccessRefused,
    Level,
    LogLine,
    ObjectInfo,
    ObjectMissing,
    RepositoryLocked,
    Surroundings,
    Transport,
    host_name,
    is_of_earlier_boot,
    process_exists,
    process_started,
    system_ids,
)
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.layout import LOCKS, named_id
from backapp_plugins.archivers.restic.format.unpacked import open_document

STALE_AFTER = timedelta(minutes=30)
NOT_ASKED = " (backapp)"
"""Ends the host name in locks of processes that would not survive restic's question."""
_LARGEST_BYTES = 64 << 10


class Holder(msgspec.Struct, frozen=True):
    """Which process it was, in words that no other process ever has."""

    system: str
    """Names the machine, its boot and its process table; empty where that cannot be known."""
    started: str
    """When it began, in the kernel's count; tells it from a later process of the same number."""


class Lock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a lock object says; the names and their order are restic's."""

    time: datetime
    """When it was written; a lock is refreshed by writing another one."""
    exclusive: bool
    hostname: str
    username: str
    pid: int
    uid: int = 0
    gid: int = 0
    backapp: Holder | None = None
    """In our own locks only."""


@frozen
class FoundLock:
    """A lock object as it stands there."""

    name: str
    lock: Lock | None
    """None if it cannot be read."""
    modified_at: datetime | None
    """By the destination's clock, if that tells."""
    fault: str = ""
    """Why it cannot be read."""

    def is_stale(self, now: datetime) -> bool:
        """Say whether it counts for nothing any more.

        It does not once its holder is known to be dead, nor if nobody refreshed it for half an
        hour; restic gives up by itself before that.
        """
        if self.lock is not None:
            return _is_dead(self.lock, now)
        # Only where the lock cannot say it is the destination's clock believed, which may be off.
        return self.modified_at is not None and _is_old(self.modified_at, now)


def read_locks(transport: Transport, codec: BlobCodec) -> Iterator[FoundLock]:
    """Yield all locks, without those of no bytes, which an interrupted upload may leave behind."""
    for info in transport.list(LOCKS):
        if info.size_bytes and named_id(info.name) is not None:
            try:
                yield _read(transport, codec, info)
            except ObjectMissing:
                continue  # released since it was listed


def clear_way(
    transport: Transport,
    codec: BlobCodec,
    surroundings: Surroundings,
    *,
    own: Container[str],
    is_exclusive: bool,
) -> set[str]:
    """Return which own locks stand, if none of others excludes this one; stale ones are removed.

    Args:
        transport: Where the repository stands.
        codec: Opens what is sealed there.
        surroundings: Tells the time, and is told what was removed.
        own: Names of locks that are the caller's.
        is_exclusive: Whether the caller wants to be alone.

    Raises:
        RepositoryLocked: If one does, or one cannot be read and is not old.
    """
    standing: set[str] = set()
    for found in read_locks(transport, codec):
        if found.name in own:
            standing.add(found.name)
        elif found.is_stale(surroundings.clock.now()):
            # Where removing it is not allowed it is passed over: it counts for nothing.
            with suppress(AccessRefused):
                transport.delete(found.name)
                surroundings.events(LogLine(Level.WARNING, f"removed {_described(found)}"))
        elif found.lock is None:
            raise RepositoryLocked(
                f"{found.name} at {transport.address} cannot be read ({found.fault}), so somebody "
                "may be at work there; if nobody is, remove all locks with unlock --remove-all"
            )
        elif is_exclusive or found.lock.exclusive:
            raise RepositoryLocked(
                f"{transport.address} is locked {_how(found.lock)} by {_whose(found.lock)}; wait "
                "until it ends, or if it is dead run unlock"
            )
    return standing


def unlock(
    transport: Transport, codec: BlobCodec, surroundings: Surroundings, *, remove_all: bool
) -> Sequence[FoundLock]:
    """Remove locks and return them: those whose holders are dead, or with ``remove_all`` all.

    A holder that lives all the same notices before it publishes or deletes anything. Here restic's
    own locks of this machine are judged by whether their process exists, as restic does; it is no
    proof, for containers may share a name, and so it takes somebody who asks for it.
    """
    removed: list[FoundLock] = []
    for found in read_locks(transport, codec):
        is_doomed = (
            remove_all
            or found.is_stale(surroundings.clock.now())
            or (found.lock is not None and _is_abandoned(found.lock))
        )
        if is_doomed:
            transport.delete(found.name)
            removed.append(found)
    return removed


def _read(transport: Transport, codec: BlobCodec, info: ObjectInfo) -> FoundLock:
    if info.size_bytes > _LARGEST_BYTES:
        return FoundLock(info.name, None, info.modified_at, f"it has {info.size_bytes} bytes")
    fault = ""
    for _ in range(2):  # one bad transfer is no damage
        try:
            document = open_document(codec, transport.read(info.name))
            lock = msgspec.json.decode(document, type=Lock)
            if lock.time.tzinfo is not None:
                return FoundLock(info.name, lock, info.modified_at)
            fault = "its time names no zone"
        except (ValueError, RecursionError) as error:  # what is broken or malformed is the first
            fault = str(error)
    return FoundLock(info.name, None, info.modified_at, fault)


def _is_dead(lock: Lock, now: datetime) -> bool:
    holder = lock.backapp
    if holder is not None and holder.system and holder.started and _is_of_this_host(lock):
        if holder.system == system_ids():
            # We see the very process table that it stands in, so no clock has a say: clocks jump.
            return process_started(lock.pid) != holder.started
        if is_of_earlier_boot(holder.system):
            return True
    return _is_old(lock.time, now)


def _is_abandoned(lock: Lock) -> bool:
    """Say whether it is restic's, and this machine has no process of its number."""
    return lock.backapp is None and lock.hostname == host_name() and not process_exists(lock.pid)


def _is_old(at: datetime, now: datetime) -> bool:
    # A lock from the far future was written by a clock that is wrong; it must not stand for years.
    # Should its holder live, it finds the lock gone before it publishes or deletes anything.
    return abs(now - at) > STALE_AFTER


def _is_of_this_host(lock: Lock) -> bool:
    return lock.hostname.removesuffix(NOT_ASKED) == host_name()


def _described(found: FoundLock) -> str:
    if found.lock is None:
        return f"{found.name}, which cannot be read and was not refreshed for half an hour"
    return f"the lock of {_whose(found.lock)}, which died or stopped refreshing it"


def _how(lock: Lock) -> str:
    return "exclusively" if lock.exclusive else "for reading or adding"


def _whose(lock: Lock) -> str:
    return (
        f"process {lock.pid} of {lock.username or lock.uid} on {lock.hostname} "
        f"since {lock.time.isoformat(timespec='seconds')}"
    )
