"""Brings the tables up to date, once, however many processes begin at the same time."""

import threading

from sqlalchemy import Connection, text

from backapp_core.plugin_api import StoreTooNew, StoreUnavailable, to_line
from backapp_plugins.stores.sql.database import Database

REVISIONS = ("0001", "0002", "0003", "0004")
"""All migrations, oldest first; known here so that an up-to-date store opens without alembic."""

_NEWEST = REVISIONS[-1]
# alembic keeps the migration in progress in module variables.
_UPGRADING = threading.Lock()


def bring_up_to_date(database: Database) -> None:
    """Return when the tables are those of the newest migration.

    Raises:
        StoreUnavailable: If the database is no store or cannot be written.
        StoreTooNew: If a newer BackApp wrote it; nothing was changed.
    """
    with database.reading() as connection:
        version = _version(connection, database)
    if version == _NEWEST:
        return
    with _UPGRADING, database.migrating() as connection:
        # Whoever waited for others meanwhile finds the work done.
        if _version(connection, database) != _NEWEST:
            _upgrade(connection)


def _version(connection: Connection, database: Database) -> str | None:
    tables = database.table_names(connection)
    if not tables:
        return None
    if not {"alembic_version", "tenants"} <= tables:
        raise StoreUnavailable(f"{database.shown} is a database of another program")
    version = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar_one_or_none()
    if version not in REVISIONS:
        raise StoreTooNew(
            f"the store {database.shown} was written by a newer BackApp"
            f" (its tables have version {to_line(str(version))}, this one knows {_NEWEST});"
            f" install that version"
        )
    return str(version)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "backapp_plugins.stores.sql:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
