"""A PostgreSQL database, which several servers may share, through psycopg."""

from __future__ import annotations  # what only servers need is not loaded for others

from collections.abc import Generator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from typing_extensions import override

from backapp_core.plugin_api import EventSink, InvalidAddress, to_line
from backapp_plugins.stores.sql.database import Database
from backapp_plugins.stores.sql.postgres_errors import translated
from backapp_plugins.stores.sql.postgres_news import LIVELY, Listener, notify

if TYPE_CHECKING:
    from backapp_core.server_api import Announced

_HINT = "write it as postgresql://user:password@host/database"
_LOCK_SECONDS = 15
_MIGRATION_LOCK = 0x6261636B617070  # "backapp"
_TURNS = 1


@final
class PostgresDatabase(Database):
    """One PostgreSQL database, for all threads of this process and for other servers."""

    is_shared = True

    def __init__(self, url: str, events: EventSink) -> None:
        parsed = _parsed(url)
        self.shown = shown_address(parsed)
        self.engine = create_engine(
            parsed,
            pool_pre_ping=True,  # a connection that was lost meanwhile is made anew
            pool_size=10,  # what is opened beyond is closed again after its use
            max_overflow=22,
            connect_args=LIVELY,
        )
        event.listen(self.engine, "connect", _set_up)
        # Not as text again: what it writes for a blank, libpq reads otherwise.
        self._options: Mapping[str, Any] = self.engine.dialect.create_connect_args(parsed)[1]
        self._events = events

    @override
    @contextmanager
    def reading(self) -> Generator[Connection, None, None]:
        with (
            translated(self.shown),
            self.engine.connect().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            ) as connection,
            connection.begin(),
        ):
            yield connection

    @override
    @contextmanager
    def writing(self) -> Generator[Connection, None, None]:
        with translated(self.shown), self.engine.begin() as connection:
            yield connection

    @override
    def take_turns(self, connection: Connection, key_hash: str) -> None:
        number = int.from_bytes(bytes.fromhex(key_hash[:8]), signed=True)
        # Two numbers, which are never taken for the single one of migrations.
        connection.execute(
            text("SELECT pg_advisory_xact_lock(:sort, :number)"),
            {"sort": _TURNS, "number": number},
        )

    @override
    def announce(self, connection: Connection, topic: str, subject_id: str) -> None:
        notify(connection, topic, subject_id)

    @override
    def listen(self, announced: Announced) -> AbstractContextManager[None]:
        return Listener(self._options, announced, self._events).running()

    @override
    @contextmanager
    def hold_alone(self) -> Generator[None, None, None]:
        yield  # there is room for many

    @override
    def table_names(self, connection: Connection) -> AbstractSet[str]:
        query = text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return set(connection.execute(query).scalars())

    @override
    @contextmanager
    def migrating(self) -> Generator[Connection, None, None]:
        with self.writing() as connection:
            # Given back with the transaction; others wait as long as it takes.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK}
            )
            yield connection


def _set_up(connection: Any, record: object) -> None:
    del record
    # Not with the options of connecting, which a pooler in between may refuse.
    connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
    connection.commit()


def shown_address(url: URL) -> str:
    """Return an address as messages have it: without password and options."""
    # Made anew from the parts that may be seen: `URL.set` leaves alone what it is told is None.
    bare = URL.create(
        "postgresql",
        username=url.username,
        host=url.host,
        port=url.port,
        database=url.database,
    )
    return to_line(bare.render_as_string())


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The address may hold a password, so it is not repeated.
        raise InvalidAddress(f"this is no address of a PostgreSQL database; {_HINT}") from error
    if not parsed.database or not to_line(url) == url:
        raise InvalidAddress(
            f"'{shown_address(parsed)}' names no database, or holds an unprintable character; "
            f"{_HINT}"
        )
    return parsed.set(drivername="postgresql+psycopg")
