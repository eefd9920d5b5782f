"""A store in an SQLite file or a PostgreSQL database, through SQLAlchemy."""

from __future__ import annotations  # what only servers need is imported by need

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backapp_core.plugin_api import PartMissing, Store, StoreKind, Surroundings, hookimpl

if TYPE_CHECKING:
    from backapp_core.server_api import Fleet
    from backapp_plugins.stores.sql.database import Database


def open_store(url: str, surroundings: Surroundings) -> Store:
    """Open the store at ``url``, creating it as needed.

    Raises:
        PartMissing: If a library is not installed.
    """
    database = _open_database(url, surroundings)
    from backapp_plugins.stores.sql.store import SqlStore

    return SqlStore(database)


def open_fleet(url: str, surroundings: Surroundings) -> Fleet:
    """Open what a server remembers at ``url``, creating it as needed.

    Raises:
        PartMissing: If a library is not installed.
    """
    database = _open_database(url, surroundings)
    from backapp_plugins.stores.sql.fleet import SqlFleet

    return SqlFleet(database)


def _open_database(url: str, surroundings: Surroundings) -> Database:
    try:
        from backapp_plugins.stores.sql.open import open_database

        return open_database(url, surroundings)
    except ModuleNotFoundError as error:
        extra = "postgres" if str(error.name).startswith("psycopg") else "sql"
        raise PartMissing(
            f"the sql store needs {error.name}; install it with: pip install 'backapp[{extra}]'"
        ) from error


@hookimpl
def backapp_stores() -> Sequence[StoreKind]:
    """Offer the store in SQLite and in PostgreSQL."""
    return (
        StoreKind(
            name="sql",
            schemes=frozenset({"sqlite", "postgresql"}),
            open=open_store,
            open_fleet=open_fleet,
        ),
    )
