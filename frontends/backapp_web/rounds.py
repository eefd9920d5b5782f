"""What a server does by itself: it looks every few seconds which jobs are due."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from backapp_core.engine.server import Server
from backapp_core.errors import BackappError
from backapp_core.events import Level, LogLine
from backapp_web.figures import Figures


@contextmanager
def rounds(server: Server, figures: Figures) -> Generator[None]:
    """Look from a thread of its own until left."""
    stopped = threading.Event()
    thread = threading.Thread(
        target=_go_round, args=(server, figures, stopped), name="backapp-rounds", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _go_round(server: Server, figures: Figures, stopped: threading.Event) -> None:
    timetable = server.timetable()
    last = ""
    while True:
        try:
            figures.due_runs.inc(len(timetable.tick()))
            last = ""
        except BackappError as error:
            # The next round tries again; what is said once need not be said every few seconds.
            if error.message != last:
                text = f"schedules could not be looked at: {error.message}"
                server.surroundings.events(LogLine(Level.WARNING, text))
            last = error.message
        if stopped.wait(server.settings.tick_seconds):
            return
