"""An SQLite file: how its transactions begin, who may serve from it, and what its errors mean."""

from __future__ import annotations  # what only servers need is not loaded for others

import errno
import shutil
import sqlite3
import threading
from collections.abc import Generator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from backapp_core.plugin_api import Clock, EventSink, StoreUnavailable, to_line
from backapp_plugins.stores.sql.announcements import Board
from backapp_plugins.stores.sql.database import Database

if TYPE_CHECKING:
    from backapp_core.server_api import Announced

_BUSY_SECONDS = 15
_READERS = 32
_PATIENCE_SECONDS = 15.0
_PAUSE_SECONDS = 0.02
_NEWS = "backapp_news"


@final
class SqliteDatabase(Database):
    """One SQLite file, for all threads of this process; connects when first used."""

    is_shared = False

    def __init__(self, path: Path, clock: Clock, events: EventSink) -> None:
        self.path = path
        self.shown = to_line(str(path))
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)),
            # The driver would begin transactions by itself, too late and without the write lock.
            connect_args={"isolation_level": None, "timeout": _BUSY_SECONDS},
            pool_size=4,
            max_overflow=_READERS,
        )
        # Two links to one file are one store.
        whole = path.resolve()
        self.claims_folder = whole.with_name(f"{whole.name}-claims")
        self._clock = clock
        self._board = Board(events)
        # SQLite's own waiting is unfair polling; threads of one process can queue up instead.
        self._turn = threading.Lock()
        event.listen(self.engine, "connect", _set_up)
        event.listen(self.engine, "begin", _begin)

    @override
    @contextmanager
    def reading(self) -> Generator[Connection, None, None]:
        with (
            translated(self.path),
            self.engine.connect().execution_options(is_reading=True) as connection,
            connection.begin(),
        ):
            yield connection

    @override
    @contextmanager
    def writing(self) -> Generator[Connection, None, None]:
        news: list[tuple[str, str]] = []
        with self._turn, translated(self.path), self.engine.begin() as connection:
            connection.info[_NEWS] = news
            yield connection
        self._board.publish(news)

    @override
    def take_turns(self, connection: Connection, key_hash: str) -> None:
        """Nothing is to be waited for: one transaction writes at a time."""

    @override
    def announce(self, connection: Connection, topic: str, subject_id: str) -> None:
        connection.info[_NEWS].append((topic, subject_id))

    @override
    def listen(self, announced: Announced) -> AbstractContextManager[None]:
        return self._board.listen(announced)

    @override
    @contextmanager
    def hold_alone(self) -> Generator[None, None, None]:
        from filelock import FileLock, Timeout

        whole = self.path.resolve()
        # A new object each time: the lock of one that is held already would be given again.
        lock = FileLock(
            str(whole.with_name(f"{whole.name}-server.lock")), mode=0o600, is_singleton=False
        )
        with translated(self.path):
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise StoreUnavailable(
                    f"another server uses the store {self.shown}; an SQLite store serves one,"
                    " several can share a PostgreSQL database"
                ) from error
        try:
            yield
        finally:
            lock.release()

    @override
    def table_names(self, connection: Connection) -> AbstractSet[str]:
        query = text("SELECT name FROM sqlite_master WHERE type = 'table'")
        return set(connection.execute(query).scalars())

    @override
    @contextmanager
    def migrating(self) -> Generator[Connection, None, None]:
        with translated(self.path):
            self._choose_wal()
            with self.engine.connect() as connection:
                # A table that a migration rebuilds must not take what refers to it along; only
                # settable outside transactions.
                driver: Any = connection.connection.driver_connection
                driver.execute("PRAGMA foreign_keys=OFF")
                try:
                    with connection.begin():
                        yield connection
                        self._check_references(connection)
                finally:
                    if not connection.invalidated:  # what interrupts a statement closes it
                        driver.execute("PRAGMA foreign_keys=ON")

    def _check_references(self, connection: Connection) -> None:
        if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
            raise StoreUnavailable(f"the store {self.shown} holds rows that refer to nothing")

    def _choose_wal(self) -> None:
        give_up_at = self._clock.monotonic_seconds() + _PATIENCE_SECONDS
        while True:
            try:
                mode = self._raw("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                # Changing the mode does not wait for the busy timeout: SQLite says so at once when
                # another is changing it.
                if (
                    error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
                    or self._clock.monotonic_seconds() > give_up_at
                ):
                    raise
                self._clock.wait(_PAUSE_SECONDS)
                continue
            if mode != "wal":
                raise StoreUnavailable(
                    f"the file system of {self.shown} cannot share a database between processes;"
                    f" put the store on a local disk"
                )
            return

    def _raw(self, statement: str) -> Any:
        connection = self.engine.raw_connection()
        try:
            return connection.cursor().execute(statement).fetchone()[0]
        finally:
            connection.close()


def _set_up(connection: Any, record: object) -> None:
    del record
    # FULL: a commit that was acknowledged survives a power cut; NORMAL may lose the last ones in
    # WAL mode.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock first, so that no transaction has to be given up half way
    # because another wrote.
    is_reading = connection.get_execution_options().get("is_reading", False)
    connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")


@contextmanager
def translated(path: Path) -> Generator[None, None, None]:
    """Turn what the database raises into one sentence about the store at ``path``.

    Raises:
        StoreUnavailable: Instead of the database's error.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the store {to_line(str(path))} {_reason(error, path)}") from error


_REASONS = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged; put a copy of it in its place",
    sqlite3.SQLITE_READONLY: "may not be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; it and its folder must be readable and writable",
    sqlite3.SQLITE_BUSY: f"is busy: another program has been writing for {_BUSY_SECONDS} seconds",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the file system reports an error",
    sqlite3.SQLITE_PERM: "may not be opened",
    sqlite3.SQLITE_AUTH: "may not be opened",
}
_PRIMARY_CODE = 0xFF
_SHARED_BYTES = 64 << 10
"""More than SQLite makes that file larger by at once, which is 32 KiB."""


def _reason(error: Exception, path: Path) -> str:
    cause: object = getattr(error, "orig", None) or error
    if _is_disk_full(cause, path):
        return (
            f"cannot be written: no space left on the disk that {to_line(str(path.parent))} is on"
        )
    if isinstance(cause, sqlite3.Error):
        # Extended codes carry the primary one in their low byte. Errors of the driver itself carry
        # none.
        code: int | None = getattr(cause, "sqlite_errorcode", None)
        if code is not None and code & _PRIMARY_CODE in _REASONS:
            return _REASONS[code & _PRIMARY_CODE]
    if isinstance(cause, OSError) and cause.strerror:
        return f"cannot be opened: {cause.strerror}"
    return f"does not answer: {to_line(str(cause))}"


def _is_disk_full(cause: object, path: Path) -> bool:
    if isinstance(cause, OSError):
        return cause.errno == errno.ENOSPC
    code = getattr(cause, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        # All that is said when there is no room for the file in which readers find what was
        # written; other errors of a disk would be said in the same way.
        with suppress(OSError):
            return shutil.disk_usage(path.parent).free < _SHARED_BYTES
    return code is not None and code & _PRIMARY_CODE == sqlite3.SQLITE_FULL
