"""Hears from a server through a WebSocket that there is something to look at."""

import logging
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import msgspec
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import ClientConnection, connect

from backapp_core.plugin_api import InvalidSettings, Pauses, Surroundings, from_plain
from backapp_core.server_api import Woken
from backapp_core.wire import SOCKET, Wake
from backapp_plugins.stores.remote.servers import Server

_MOST_MESSAGE_BYTES = 64 * 1024
_PAUSES = Pauses(first_seconds=1.0, longest_seconds=60.0)
_PING_SECONDS = 20.0
_OPEN_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.disabled = True  # at its lowest level the library logs headers, and the key is in one


@contextmanager
def listening(
    server: Server,
    key: str,
    surroundings: Surroundings,
    woken: Woken,
    *,
    pauses: Pauses = _PAUSES,
) -> Generator[None]:
    """Call ``woken`` for every message, from a thread of its own, until left.

    Whenever a connection stands, the topic ``all`` says that something may have been missed.
    """
    listener = _Listener(server, key, surroundings, woken, pauses)
    thread = threading.Thread(target=listener.run, name="backapp-listen", daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.stop()
        thread.join()


class _Listener:
    def __init__(
        self, server: Server, key: str, surroundings: Surroundings, woken: Woken, pauses: Pauses
    ) -> None:
        self._server = server
        self._key = key
        self._surroundings = surroundings
        self._woken = woken
        self._pauses = pauses
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._connection: ClientConnection | None = None
        self._context = ssl.create_default_context() if server.origin.startswith("https") else None

    def stop(self) -> None:
        with self._lock:
            self._stopped.set()
            connection = self._connection
        if connection is not None:
            connection.close()

    def run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            failures = 0 if self._listened() else failures + 1
            pause = self._pauses.seconds(self._surroundings, max(failures, 1))
            self._stopped.wait(pause)

    def _listened(self) -> bool:
        """Say whether there was a connection; returns when there is none any more."""
        try:
            connection = connect(
                self._server.socket_url(SOCKET),
                ssl=self._context,
                additional_headers={"Authorization": f"Bearer {self._key}"},
                user_agent_header="backapp-agent",
                max_size=_MOST_MESSAGE_BYTES,
                ping_interval=_PING_SECONDS,
                ping_timeout=_PING_SECONDS,
                open_timeout=_OPEN_SECONDS,
                close_timeout=_CLOSE_SECONDS,
                logger=_SILENT,
            )
        except (OSError, InvalidHandshake, WebSocketException, TimeoutError, EOFError):
            return False  # whoever listens asks by itself meanwhile, and says what it meets
        with connection:
            with self._lock:
                if self._stopped.is_set():
                    return True
                self._connection = connection
            self._woken("all", "")
            with suppress(OSError, WebSocketException):
                for message in connection:
                    if (wake := _read(message)) is not None:
                        self._woken(wake.topic, wake.subject_id)
        return True


def _read(message: str | bytes) -> Wake | None:
    """Return what a message says; None for one that makes no sense, which wakes nobody."""
    try:
        return from_plain(msgspec.json.decode(message), Wake, source="message")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidSettings):
        return None
