"""Holding a lock: taken between two looks at the others, refreshed, and given back at the end.

A lock is written first and the others are looked at afterwards, so of two that collide at least one
notices. Refreshing writes another lock and removes the one before, as restic does.
"""

import os
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import final

import msgspec

from backapp_core.plugin_api import (
    AccessRefused,
    Level,
    LogLine,
    ObjectExists,
    ObjectMissing,
    RepositoryLocked,
    StorageFull,
    Surroundings,
    Transport,
    TransportError,
    host_name,
    once_free,
    process_started,
    system_ids,
    user_and_group,
    user_name,
)
from backapp_plugins.archivers.restic.access.hangups import surviving_questions
from backapp_plugins.archivers.restic.access.locks import (
    NOT_ASKED,
    STALE_AFTER,
    Holder,
    Lock,
    clear_way,
)
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import LOCKS, id_of
from backapp_plugins.archivers.restic.format.unpacked import seal_document

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 60.0
_OVERDUE_AFTER = STALE_AFTER - 1.5 * timedelta(seconds=REFRESH_SECONDS)
"""Long before others may think us dead."""
_SETTLE_SECONDS = 0.2
"""How long a lock may take to be seen by others; restic waits as long."""
_left: set[str] = set()
"""Locks of earlier runs of this process that could not be removed, each named by its content.

They exclude nobody: since this process lives, they would be in its own way until they lapse.
Whoever holds a lock where they stand removes them with it.
"""
_REMOVED = (
    "the lock of this run was removed meanwhile, so others may have changed the repository; "
    "run it again"
)


@contextmanager
def hold(
    transport: Transport,
    key: MasterKey,
    surroundings: Surroundings,
    *,
    version: int,
    is_exclusive: bool,
) -> Generator["Hold"]:
    """Hold a lock; yields what is called to make sure that it still stands there.

    On a full disk an exclusive lock that cannot be written does not stop its holder, or nothing
    could ever be removed there: the other locks are looked at all the same, before and whenever
    the hold is called, which writes the lock as soon as there is room.

    Args:
        transport: Where the repository stands.
        key: What locks there are sealed with.
        surroundings: Tells the time, and is told what goes wrong with the lock.
        version: Of the repository's format.
        is_exclusive: Whether nobody else may be at work.

    Raises:
        RepositoryLocked: If another lock excludes this one, after waiting as long as the
            surroundings say.
        StorageFull: If there is no room for a shared lock.
        AccessRefused: If nothing can be written there.
        RunCancelled: If somebody wishes to stop while it waits.
    """

    def take() -> Hold:
        with ExitStack() as attempt:
            is_surviving = attempt.enter_context(surviving_questions())
            held = Hold(
                transport,
                BlobCodec(key, surroundings.random_bytes),
                surroundings,
                version=version,
                is_exclusive=is_exclusive,
                hostname=host_name() if is_surviving else host_name() + NOT_ASKED,
            )
            attempt.callback(held.release)
            # Of several that waited, some may come back at the same moment.
            held.take(settles=surroundings.lock_wait_seconds > 0)
            stack.push(attempt.pop_all())
        return held

    with ExitStack() as stack:
        yield once_free(surroundings, take)


@final
class Hold:
    """A lock that is held; every method may be called from any thread.

    Whoever holds it calls it before anything is published or deleted, and calls `check` often.
    """

    def __init__(
        self,
        transport: Transport,
        codec: BlobCodec,
        surroundings: Surroundings,
        *,
        version: int,
        is_exclusive: bool,
        hostname: str,
    ) -> None:
        """Prepare to hold; ``codec`` is not used by others, ``hostname`` is what the lock says."""
        self._transport = transport
        self._codec = codec
        self._surroundings = surroundings
        self._version = version
        self._is_exclusive = is_exclusive
        self._hostname = hostname
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._refresher: threading.Thread | None = None
        self._name = ""
        """The lock; empty while there is none."""
        self._names: set[str] = set()
        """What may stand there: the lock, and others of ours that it takes the place of."""
        self._written_at: tuple[datetime, float] | None = None
        """By the clock on the wall, which others read, and by the one that never jumps."""
        self._is_settled = False
        self._lost = ""
        """Why the lock is worth nothing any more; empty while it is."""
        self._has_warned = False

    def __call__(self) -> None:
        """Return if nobody who is excluded can be at work; asks the destination.

        Raises:
            RepositoryLocked: If the lock is gone or could not be refreshed in time, or others came.
        """
        with self._mutex:
            if self._lost:
                raise RepositoryLocked(self._lost)
            try:
                self._require()
            except RepositoryLocked as error:
                self._lost = error.message
                raise

    def check(self) -> None:
        """Return if the lock is believed to stand; asks the destination only if that is doubtful.

        Raises:
            RepositoryLocked: If the lock is gone or could not be refreshed in time, or others came.
        """
        if self._lost or self._is_overdue():
            self()

    def take(self, *, settles: bool = False) -> None:
        """Write the lock, if there is room, between two looks at the others.

        Args:
            settles: Whether to look once more when everybody must have seen it, which is done
                anyway before anything is published or deleted.

        Raises:
            RepositoryLocked: If another lock excludes this one.
            StorageFull: If there is no room for a shared lock.
            AccessRefused: If nothing can be written there.
        """
        with self._mutex:
            self._take()
            if settles:
                self._settle()

    def release(self) -> None:
        """Stop refreshing the lock and remove it if it may have been written."""
        self._stop.set()
        if self._refresher is not None:
            self._refresher.join()
        for name in tuple(self._names):
            self._delete(name)
        _left.update(self._names)

    def _require(self) -> None:
        if not self._name:
            self._take()
        elif self._is_overdue():
            self._refresh_late()
        else:
            self._require_standing(self._name)
        self._settle()

    def _take(self) -> None:
        self._clear_way()
        try:
            self._write()
        except AccessRefused as error:
            raise AccessRefused(
                f"the repository at {self._transport.address} cannot be written: {error.message}"
            ) from error
        except StorageFull as error:
            if not self._is_exclusive:
                raise
            self._warn_of_no_room(error)
            return
        self._clear_way()
        self._refresher = threading.Thread(target=self._keep_fresh, name="lock", daemon=True)
        self._refresher.start()

    def _settle(self) -> None:
        """Look at the others once more when everybody must have seen the lock.

        What was done until then was done beside nobody who could see the lock, or is worth nothing
        and harms nobody, so it need not wait.
        """
        if self._is_settled or self._written_at is None:
            return
        waited = self._surroundings.clock.monotonic_seconds() - self._written_at[1]
        if waited < _SETTLE_SECONDS:
            self._surroundings.clock.wait(_SETTLE_SECONDS - waited)
        self._clear_way()
        self._is_settled = True

    def _keep_fresh(self) -> None:
        seconds = REFRESH_SECONDS
        while not self._stop.wait(seconds):
            seconds = REFRESH_SECONDS
            with self._mutex:
                try:
                    self._refresh()
                except RepositoryLocked as error:
                    self._lost = error.message
                    return
                except TransportError as error:
                    seconds = min(RETRY_SECONDS, REFRESH_SECONDS)
                    self._warn(f"the lock could not be refreshed: {error.message}")

    def _refresh(self, settle_seconds: float = 0.0) -> None:
        """Put a new lock in the place of the present one.

        Raises:
            RepositoryLocked: If the present one was removed, before or meanwhile, or others came:
                a lock that others removed must not come back to life.
        """
        former = self._name
        self._require_standing(former)
        self._write()
        self._clear_way()
        if settle_seconds:
            self._surroundings.clock.wait(settle_seconds)
        self._require_standing(former)
        self._delete(former)

    def _refresh_late(self) -> None:
        # The machine slept, or the clock on the wall jumped. Whoever thought us dead removed the
        # lock before doing anything, so if it stands nobody did.
        try:
            self._refresh(_SETTLE_SECONDS)
        except TransportError as error:
            raise RepositoryLocked(
                "the lock of this run could not be refreshed in time, so others may take it for "
                f"dead: {error.message}"
            ) from error

    def _require_standing(self, name: str) -> None:
        try:
            self._transport.stat(name)
        except ObjectMissing as error:
            raise RepositoryLocked(_REMOVED) from error

    def _is_overdue(self) -> bool:
        if self._written_at is None:
            return False
        clock, (at, monotonic_at) = self._surroundings.clock, self._written_at
        passed = timedelta(seconds=clock.monotonic_seconds() - monotonic_at)
        # Neither clock is enough: one stands still while the machine sleeps, the other is set.
        return max(passed, clock.now() - at) > _OVERDUE_AFTER

    def _write(self) -> None:
        clock = self._surroundings.clock
        now = clock.now(), clock.monotonic_seconds()
        uid, gid = user_and_group()
        lock = Lock(
            time=now[0],
            exclusive=self._is_exclusive,
            hostname=self._hostname,
            username=user_name(),
            pid=os.getpid(),
            uid=uid,
            gid=gid,
            backapp=Holder(system_ids(), process_started(os.getpid())),
        )
        sealed = seal_document(self._codec, msgspec.json.encode(lock), version=self._version)
        name = f"{LOCKS}{id_of(sealed).hex()}"
        self._names.add(name)
        try:
            # The name is nobody else's: it was stored, and the answer was lost.
            with suppress(ObjectExists):
                self._transport.put(name, [sealed], size_bytes=len(sealed))
        except (AccessRefused, StorageFull):
            self._names.discard(name)
            raise
        self._name, self._written_at = name, now

    def _clear_way(self) -> None:
        self._names |= clear_way(
            self._transport,
            self._codec,
            self._surroundings,
            own=self._names | _left,
            is_exclusive=self._is_exclusive,
        )

    def _delete(self, name: str) -> None:
        try:
            self._transport.delete(name)
        except TransportError as error:
            # The work is done or has its own error; a lock that nobody refreshes lapses.
            self._warn(f"the lock {name} could not be removed: {error.message}")
        else:
            self._names.discard(name)
            _left.discard(name)

    def _warn_of_no_room(self, error: StorageFull) -> None:
        if not self._has_warned:
            self._warn(f"going on without a lock, for there is no room for one: {error.message}")
        self._has_warned = True

    def _warn(self, text: str) -> None:
        self._surroundings.events(LogLine(Level.WARNING, text))
