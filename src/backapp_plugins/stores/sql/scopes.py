"""One tenant's part of the tables: every query of what is owned is composed here."""

from collections.abc import Mapping
from contextlib import nullcontext
from itertools import takewhile
from typing import Any

from attrs import frozen
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    and_,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from backapp_plugins.stores.sql.database import Database


@frozen
class Scope:
    """What belongs to one tenant."""

    database: Database
    tenant_id: int

    def of(self, table: FromClause, **equal: Any) -> ColumnElement[bool]:
        """Return what holds of this tenant's rows of a table whose columns have these values."""
        wanted = [table.c[name] == value for name, value in equal.items()]
        return and_(table.c.tenant_id == self.tenant_id, *wanted)

    def one(self, connection: Connection, table: Table, **equal: Any) -> Any:
        """Return the row with these values, None if there is none."""
        return connection.execute(select(table).where(self.of(table, **equal))).one_or_none()

    def lock(self, connection: Connection, table: Table, **equal: Any) -> Any:
        """Return the row, held until the transaction ends; None if there is none."""
        # Of two that begin to refer to the same row neither has to wait: its key stays.
        query = select(table).where(self.of(table, **equal)).with_for_update(key_share=True)
        return connection.execute(query).one_or_none()

    def add(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert a row; False if something that has to be unique, or be there, stands against it.

        The transaction goes on in either case.
        """
        return add_row(connection, table, {"tenant_id": self.tenant_id, **row})

    def insert(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
        """Insert a row that nothing stands against."""
        connection.execute(insert(table).values(tenant_id=self.tenant_id, **row))

    def change(
        self, connection: Connection, table: Table, row: Mapping[str, Any], **equal: Any
    ) -> int:
        """Set columns of the rows with these values, and return how many there were."""
        done = connection.execute(update(table).where(self.of(table, **equal)).values(**row))
        return done.rowcount

    def remove(self, connection: Connection, table: Table, **equal: Any) -> int:
        """Delete the rows with these values, and return how many there were."""
        return connection.execute(delete(table).where(self.of(table, **equal))).rowcount


def part_by_name(query: Select[Any], table: Table, after: str, limit: int | None) -> Select[Any]:
    """Return ``query`` for the rows whose names come after ``after``, in order; None means all."""
    # Names are ASCII. What else there may be is put in its order: not all of it can be sent.
    known = after.partition("\0")[0]
    beginning = "".join(takewhile(str.isascii, known))
    known = known if known == beginning else f"{beginning}\x7f"
    query = query.where(table.c.name > known).order_by(table.c.name)
    return query if limit is None else query.limit(max(limit, 0))


def add_row(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row of any tenant; as `Scope.add`."""
    # PostgreSQL gives a whole transaction up at the first error, SQLite only the statement.
    is_fragile = connection.dialect.name == "postgresql"
    try:
        with connection.begin_nested() if is_fragile else nullcontext():
            connection.execute(insert(table).values(**row))
    except IntegrityError:
        return False
    return True
