"""One further process: started with a service, asked over a socket, and gone with whoever asks.

It holds nothing of value: a worker that is killed costs what it was asked last.
"""

import gc
import os
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, final

from backapp_core.plugin_api import WorkerLost

MOST_DESCRIPTORS: Final = 250
"""Linux passes no more than 253 at once."""
_BEGIN: Final = (
    "import os, sys; sys.path[:] = sys.argv[1:]; "
    f"from {__name__} import serve_standard_input; serve_standard_input(); os._exit(0)"
)
"""There is nothing to tidy at the end, and an interpreter takes a twentieth of a second for it."""
_READY: Final = b"ready"
_DESCRIPTORS: Final = b"d"
_FEW_COLLECTIONS: Final = 50_000
"""What workers make has no cycles; looking for them took a tenth of their time."""


class Service(ABC):
    """What a worker does; it is pickled, so it is of a class that a module names."""

    @abstractmethod
    def serve(self, connection: "Connection[Any, Any]") -> None:
        """Answer until the other side is gone.

        Raises:
            EOFError: When it is.
            OSError: When it is, too.
        """


@final
class Worker:
    """A worker process, seen from the one that it works for; used by one thread at a time."""

    def __init__(self, service: Service) -> None:
        """Start it, which goes on when this returns.

        The service goes through a socket that nobody else sees, so it may hold keys.

        Raises:
            OSError: If no further process can be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            paths = [str(Path(path).absolute()) for path in sys.path]
            try:
                self._process = subprocess.Popen(  # noqa: S603  # this interpreter, and our own words
                    [sys.executable, "-I", "-c", _BEGIN, *paths],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    process_group=0,  # no signal from the terminal reaches it
                )
            except BaseException:
                ours.close()
                raise
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        self._is_ready = False
        with suppress(OSError):  # it is gone already; `is_ready` tells
            self.connection.send(service)

    def is_ready(self) -> bool:
        """Say whether it has begun to serve; until then nothing may be asked.

        Raises:
            WorkerLost: If it has ended.
        """
        try:
            if not self._is_ready and self.connection.poll():
                self._is_ready = self.connection.recv_bytes() == _READY
        except (EOFError, OSError) as error:
            raise self.lost() from error
        return self._is_ready

    def send(self, message: object, descriptors: Sequence[int]) -> None:
        """Ask for something, and hand over open descriptors, which may be closed here afterwards.

        Args:
            message: What its service takes; small enough for the socket, or the worker has to read.
            descriptors: For `receive` on the other side; at most `MOST_DESCRIPTORS`.

        Raises:
            OSError: If it has ended, or no more descriptors may be on their way.
        """
        with _socket_of(self.connection) as passage:
            socket.send_fds(passage, [_DESCRIPTORS], descriptors)
        self.connection.send(message)

    def lost(self) -> WorkerLost:
        """Return the error for a worker that does not answer any more, after ending it."""
        return WorkerLost(
            f"a worker process {self.end()} before it was done, perhaps for want of memory; run it "
            "again, or with one thread, which needs no workers"
        )

    def end(self) -> str:
        """End it if it has not ended, and return in words how it did."""
        self.close()
        code = self._process.returncode
        return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"

    def kill(self) -> None:
        """End it at once, from any thread; who asks it something meanwhile gets an `OSError`."""
        self._process.kill()

    def close(self) -> None:
        """End it and wait for its end, which takes no time: it has nothing to finish."""
        self.connection.close()
        try:
            self._process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def receive(connection: "Connection[Any, Any]") -> tuple[Any, list[int]]:
    """Return what `Worker.send` sent: the message, and the descriptors, which are to be closed.

    Raises:
        EOFError: If the other side is gone.
        OSError: If not all descriptors could be taken over.
    """
    with _socket_of(connection) as passage:
        begin, descriptors, flags, _ = socket.recv_fds(passage, 1, MOST_DESCRIPTORS)
    if not begin:
        raise EOFError
    if flags & socket.MSG_CTRUNC:
        raise OSError("too many open files")
    return connection.recv(), descriptors


def _socket_of(connection: "Connection[Any, Any]") -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


def serve_standard_input() -> None:
    """Be a worker: standard input is a socket, and brings the service and then its requests."""
    gc.set_threshold(_FEW_COLLECTIONS)
    with closing(Connection(os.dup(0))) as connection, suppress(EOFError, OSError):
        service: Service = connection.recv()
        connection.send_bytes(_READY)
        service.serve(connection)
