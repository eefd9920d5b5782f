"""What the tables stand in: transactions, the database's own time, and news for other servers."""

from __future__ import annotations  # what only servers need is not loaded for others

from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Connection, Engine, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from backapp_plugins.stores.sql.rows import moment_from_column

if TYPE_CHECKING:
    from backapp_core.server_api import Announced


class Now(FunctionElement[int]):
    """The database's time, in a statement: microseconds since 1970."""

    inherit_cache = True
    type = BigInteger()
    name = "now_microseconds"


@compiles(Now, "sqlite")
def _now_of_sqlite(element: Now, compiler: Any, **options: Any) -> str:
    del element, compiler, options
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) * 1000 AS INTEGER)"


@compiles(Now, "postgresql")
def _now_of_postgresql(element: Now, compiler: Any, **options: Any) -> str:
    del element, compiler, options
    # Not now(), which is when the transaction began, however long it waited for others since.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


class Database(ABC):
    """One database, for all threads of this process; connects when first used."""

    shown: str
    """What messages call it; without a password."""
    engine: Engine
    is_shared: bool
    """Whether several servers may use it at once."""
    claims_folder: Path | None = None
    """As `Store.claims_folder`."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Open a transaction that sees one state of the store and waits for no writer.

        Raises:
            StoreUnavailable: If the database cannot do what is asked within.
        """

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """Open a transaction that is on disk when it is left without error.

        Rows that decide what is written are to be locked (``with_for_update``), where the database
        lets others write at the same time.

        Raises:
            StoreUnavailable: If the database cannot do what is asked within, or others write too
                long.
        """

    @abstractmethod
    def take_turns(self, connection: Connection, key_hash: str) -> None:
        """Wait for other transactions that took their turn at the same key, until they are done.

        What those wrote is seen by the statements that follow. It needs no row to be locked.
        ``key_hash`` is a SHA-256 in hex digits.
        """

    @abstractmethod
    def announce(self, connection: Connection, topic: str, subject_id: str) -> None:
        """Let all who listen know of a change, once the transaction is done, and only then."""

    @abstractmethod
    def listen(self, announced: Announced) -> AbstractContextManager[None]:
        """As `Fleet.listen`."""

    @abstractmethod
    def hold_alone(self) -> AbstractContextManager[None]:
        """As `Fleet.hold_alone`."""

    @abstractmethod
    def table_names(self, connection: Connection) -> AbstractSet[str]:
        """Return the names of all tables."""

    @abstractmethod
    def migrating(self) -> AbstractContextManager[Connection]:
        """Open a transaction in which tables may be altered and which excludes other such ones.

        Raises:
            StoreUnavailable: As `writing`.
        """

    def now(self, connection: Connection) -> datetime:
        """Return the database's time."""
        return moment_from_column(connection.execute(select(Now())).scalar_one())

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()
