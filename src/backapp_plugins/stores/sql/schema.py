"""Brings the tables up to date, once, however many processes begin at the same time."""

import sqlite3
import threading
from typing import Any

from sqlalchemy import Connection, text

from backapp_core.plugin_api import Clock, StoreTooNew, StoreUnavailable, to_line
from backapp_plugins.stores.sql.connection import Database, translated

REVISIONS = ("0001",)
"""All migrations, oldest first; known here so that an up-to-date store opens without alembic."""

_NEWEST = REVISIONS[-1]
_PATIENCE_SECONDS = 15.0
_PAUSE_SECONDS = 0.02
# alembic keeps the migration in progress in module variables.
_UPGRADING = threading.Lock()


def bring_up_to_date(database: Database, clock: Clock) -> None:
    """Return when the tables are those of the newest migration.

    Raises:
        StoreUnavailable: If the file is no store or cannot be written.
        StoreTooNew: If a newer BackApp wrote it; nothing was changed.
    """
    with database.reading() as connection:
        version = _version(connection, database)
    if version == _NEWEST:
        return
    with _UPGRADING, translated(database.path):
        _choose_wal(database, clock)
        _upgrade(database)


def _version(connection: Connection, database: Database) -> str | None:
    tables = set(
        connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars()
    )
    if not tables:
        return None
    shown = to_line(str(database.path))
    if not {"alembic_version", "tenants"} <= tables:
        raise StoreUnavailable(f"{shown} is a database of another program")
    version = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar_one_or_none()
    if version not in REVISIONS:
        raise StoreTooNew(
            f"the store {shown} was written by a newer BackApp"
            f" (its tables have version {to_line(str(version))}, this one knows {_NEWEST});"
            f" install that version"
        )
    return str(version)


def _choose_wal(database: Database, clock: Clock) -> None:
    give_up_at = clock.monotonic_seconds() + _PATIENCE_SECONDS
    while True:
        try:
            mode = _raw(database, "PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Changing the mode does not wait for the busy timeout: SQLite says so at once when
            # another is changing it.
            if (
                error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
                or clock.monotonic_seconds() > give_up_at
            ):
                raise
            clock.wait(_PAUSE_SECONDS)
            continue
        if mode != "wal":
            raise StoreUnavailable(
                f"the file system of {to_line(str(database.path))} cannot share a database between"
                f" processes; put the store on a local disk"
            )
        return


def _raw(database: Database, statement: str) -> Any:
    connection = database.engine.raw_connection()
    try:
        return connection.cursor().execute(statement).fetchone()[0]
    finally:
        connection.close()


def _upgrade(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "backapp_plugins.stores.sql:migrations")
    with database.engine.connect() as connection:
        # A table that a migration rebuilds must not take what refers to it along; only settable
        # outside transactions.
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                # Whoever waited for the lock meanwhile finds the work done.
                if _version(connection, database) == _NEWEST:
                    return
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                _check_references(connection, database)
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def _check_references(connection: Connection, database: Database) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise StoreUnavailable(
            f"the store {to_line(str(database.path))} holds rows that refer to nothing"
        )
