"""News among the threads of one process: each listener has a thread and a queue of its own."""

from __future__ import annotations  # what only servers need is not loaded for others

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, final

from backapp_core.plugin_api import EventSink, Level, LogLine, to_line

if TYPE_CHECKING:
    from backapp_core.server_api import Announced

News = tuple[str, str]
"""Topic and id."""


@final
class Board:
    """Passes news on to whoever listens at the moment; from any thread."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._queues: list[SimpleQueue[News | None]] = []

    def publish(self, news: Iterable[News]) -> None:
        """Hand news to all listeners; waits for none of them."""
        with self._lock:
            queues = tuple(self._queues)
        for one in news:
            for queue in queues:
                queue.put(one)

    @contextmanager
    def listen(self, announced: Announced) -> Generator[None, None, None]:
        """Call ``announced`` from a thread for everything published until left."""
        queue: SimpleQueue[News | None] = SimpleQueue()
        thread = threading.Thread(
            target=self._pass_on, args=(queue, announced), name="announcements", daemon=True
        )
        with self._lock:
            self._queues.append(queue)
        thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._queues.remove(queue)
            queue.put(None)
            thread.join()

    def _pass_on(self, queue: SimpleQueue[News | None], announced: Announced) -> None:
        while (news := queue.get()) is not None:
            tell(announced, news, self._events)


def tell(announced: Announced, news: News, events: EventSink) -> None:
    """Call a listener; whatever it raises becomes a line of the log and stops nothing."""
    try:
        announced(*news)
    except Exception as error:  # noqa: BLE001  # one listener's mistake must not make it deaf
        events(
            LogLine(
                Level.WARNING, f"a listener failed: {type(error).__name__}: {to_line(str(error))}"
            )
        )
