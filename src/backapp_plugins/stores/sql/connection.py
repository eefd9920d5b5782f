"""Connections to SQLite: their settings, how transactions begin, and what errors mean."""

import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from backapp_core.plugin_api import StoreUnavailable, to_line

_BUSY_SECONDS = 15
_READERS = 32


@final
class Database:
    """One SQLite file, for all threads of this process; connects when first used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)),
            # The driver would begin transactions by itself, too late and without the write lock.
            connect_args={"isolation_level": None, "timeout": _BUSY_SECONDS},
            pool_size=4,
            max_overflow=_READERS,
        )
        # SQLite's own waiting is unfair polling; threads of one process can queue up instead.
        self._turn = threading.Lock()
        event.listen(self.engine, "connect", _set_up)
        event.listen(self.engine, "begin", _begin)

    @contextmanager
    def reading(self) -> Generator[Connection, None, None]:
        """Open a transaction that sees one state of the store and waits for no writer.

        Raises:
            StoreUnavailable: If the database cannot do what is asked within.
        """
        with (
            translated(self.path),
            self.engine.connect().execution_options(is_reading=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection, None, None]:
        """Open a transaction that excludes other writers; on disk when it is left without error.

        Raises:
            StoreUnavailable: If the database cannot do what is asked within, or others write too
                long.
        """
        with self._turn, translated(self.path), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()


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
        raise StoreUnavailable(f"the store {to_line(str(path))} {_reason(error)}") from error


_REASONS = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged; put a copy of it in its place",
    sqlite3.SQLITE_FULL: "cannot be written: no space left on the device",
    sqlite3.SQLITE_READONLY: "may not be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; it and its folder must be readable and writable",
    sqlite3.SQLITE_BUSY: f"is busy: another program has been writing for {_BUSY_SECONDS} seconds",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the file system reports an error",
    sqlite3.SQLITE_PERM: "may not be opened",
    sqlite3.SQLITE_AUTH: "may not be opened",
}
_PRIMARY_CODE = 0xFF


def _reason(error: Exception) -> str:
    cause: object = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        # Extended codes carry the primary one in their low byte. Errors of the driver itself carry
        # none.
        code: int | None = getattr(cause, "sqlite_errorcode", None)
        if code is not None and code & _PRIMARY_CODE in _REASONS:
            return _REASONS[code & _PRIMARY_CODE]
    if isinstance(cause, OSError) and cause.strerror:
        return f"cannot be opened: {cause.strerror}"
    return f"does not answer: {to_line(str(cause))}"
