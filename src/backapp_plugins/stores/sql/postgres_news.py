"""News among several servers: NOTIFY within transactions, and a thread that hears of them."""

from __future__ import annotations  # what only servers need is not loaded for others

import json
import selectors
import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, final

import psycopg
from sqlalchemy import Connection, text

from backapp_core.plugin_api import EventSink, Level, LogLine
from backapp_plugins.stores.sql.announcements import News, tell
from backapp_plugins.stores.sql.postgres_errors import reason_of

if TYPE_CHECKING:
    from backapp_core.server_api import Announced

# A server that died without a word is noticed within about a minute, not within hours.
LIVELY: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "backapp",
}
"""What every connection is opened with; seconds, the last but one milliseconds."""
_CHANNEL = "backapp"
_MOST_BYTES = 7_000  # PostgreSQL refuses 8000, and the whole transaction with it
_EVERYTHING: News = ("all", "")
_SILENCE_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0


def notify(connection: Connection, topic: str, subject_id: str) -> None:
    """Let all who listen know, once the transaction is committed."""
    payload = json.dumps([topic, subject_id])  # ASCII, whatever there is in it
    if len(payload) > _MOST_BYTES:
        payload = json.dumps(_EVERYTHING)
    connection.execute(
        text("SELECT pg_notify(:channel, :payload)"), {"channel": _CHANNEL, "payload": payload}
    )


@final
class Listener:
    """A thread with a connection of its own, which it makes anew whenever it is lost."""

    def __init__(self, options: Mapping[str, Any], announced: Announced, events: EventSink) -> None:
        self._options = options
        self._announced = announced
        self._events = events
        self._is_listening = threading.Event()
        self._is_over = threading.Event()
        # Writing a byte into it wakes the thread, whatever it waits for.
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="announcements", daemon=True)

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Listen until left; what is announced after this was entered is heard."""
        self._thread.start()
        self._is_listening.wait()
        try:
            yield
        finally:
            self._is_over.set()
            self._wake.send(b"x")
            self._thread.join()
            self._wake.close()
            self._woken.close()

    def _run(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        is_first = True
        while not self._is_over.is_set():
            try:
                with self._connected() as connection:
                    if not is_first:
                        tell(self._announced, _EVERYTHING, self._events)
                    is_first, pause_seconds = False, _FIRST_PAUSE_SECONDS
                    self._is_listening.set()
                    self._hear(connection)
            except (psycopg.Error, OSError) as error:
                self._events(
                    LogLine(Level.WARNING, f"listening to the store: it {reason_of(error)}")
                )
                # Whoever began to listen need not wait for a server that is away.
                is_first = False
                self._is_listening.set()
                self._pause(pause_seconds)
                pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    @contextmanager
    def _connected(self) -> Generator[psycopg.Connection[Any], None, None]:
        options: dict[str, Any] = {**self._options, **LIVELY, "autocommit": True}
        connection: psycopg.Connection[Any] = psycopg.connect(**options)
        try:
            # What arrives while a statement is answered is handed to this.
            connection.add_notify_handler(lambda found: self._pass_on(found.payload))
            connection.execute(f"LISTEN {_CHANNEL}")
            yield connection
        finally:
            connection.close()

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        while not self._is_over.is_set():
            if not _is_readable(_SILENCE_SECONDS, connection.pgconn.socket, self._woken):
                # Says whether anybody is there at all.
                connection.execute("SELECT 1")
            connection.pgconn.consume_input()
            while (found := connection.pgconn.notifies()) is not None:
                self._pass_on(found.extra.decode(errors="replace"))

    def _pass_on(self, payload: str) -> None:
        with suppress(ValueError, TypeError):  # somebody else's
            topic, subject_id = json.loads(payload)
            tell(self._announced, (str(topic), str(subject_id)), self._events)

    def _pause(self, seconds: float) -> None:
        _is_readable(seconds, self._woken)


def _is_readable(seconds: float, *sources: int | socket.socket) -> bool:
    """Wait until there is something to read in one of them, and say whether there is."""
    # Not select(), which refuses descriptors from 1024 on: a server of many machines has those.
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source, selectors.EVENT_READ)
        return bool(selector.select(seconds))
