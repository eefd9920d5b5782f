"""Some workers, shared by the threads of one run."""

import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import Closing, RunCancelled, Surroundings, WorkerLost
from backapp_plugins.archivers.restic.workers.worker import Service, Worker

_MOST_WORKERS = 4
"""More would wait for the process that they work for."""
_LOOK_SECONDS = 0.1


def may_be_started(surroundings: Surroundings) -> bool:
    """Say whether a run may have workers: not with one thread, nor where sockets stay behind."""
    return surroundings.threads != 1 and sys.platform != "win32"


@final
class Crew(Closing):
    """Lends workers to any number of threads, each to one of them at a time.

    A context manager. None is started before there is something to do for them, and as long as none
    is ready, or where none can be started, whoever asks has to work alone. When the run is asked to
    stop they are ended by a thread, so that nobody waits for one that does not answer any more.
    """

    def __init__(
        self, service: Service, count: int, check: Callable[[], None], *, start_at: int
    ) -> None:
        """Prepare.

        Args:
            service: What each worker does.
            count: How many there may be at most.
            check: Called often, from any thread; raises `RunCancelled` if the run is to stop.
            start_at: How much work, as `borrow` is told of it, pays for starting them, which takes
                the processor a sixth of a second each.
        """
        self._service = service
        self._start_at = start_at
        self.size = min(count, _MOST_WORKERS)
        """How many there may be at most."""
        self._left = self.size
        self._check = check
        self._lock = threading.Lock()
        self._work = 0
        self._started: list[Worker] = []
        self._starting: list[Worker] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._serving = 0
        self._is_closed = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="backapp-crew", daemon=True)

    @override
    def close(self) -> None:
        """End all of them; what they were asked is lost."""
        self._is_closed.set()
        if self._watching.ident is not None:
            self._watching.join()
        for worker in self._started:
            worker.close()

    def prepare(self, work: int) -> None:
        """Start workers if what there is to do pays for them; never waits.

        Args:
            work: How much more there is to do.
        """
        with self._lock:
            self._work += work
            if self._left and self._work >= self._start_at:
                self._start()
            if self._starting:
                self._greet()

    def is_serving(self) -> bool:
        """Wait for workers that were started, and say whether there are any.

        Raises:
            RunCancelled: If the run is asked to stop.
        """
        while starting := [worker.connection for worker in self._starting]:
            wait(starting, _LOOK_SECONDS)
            self._check()
            self.prepare(0)
        return self._serving > 0

    def borrow(self, work: int) -> Worker | None:
        """Return a worker, to be given back or dismissed; None if there is none to wait for.

        It must be one of the two whatever happens, or others wait for it for ever.

        Args:
            work: How much there is to do.

        Raises:
            RunCancelled: If the run is asked to stop.
        """
        self.prepare(work)
        while self._serving:
            try:
                return self._idle.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._check()
        return None

    def recruit(self, work: int) -> list[Worker]:
        """Return the workers that got ready since, for one thread that keeps them; never waits.

        Nobody may `borrow` of the same crew.

        Args:
            work: How much more there is to do.
        """
        self.prepare(work)
        ready: list[Worker] = []
        with suppress(queue.Empty):
            while True:
                ready.append(self._idle.get_nowait())
        return ready

    @property
    def is_starting(self) -> bool:
        """Whether workers were started that are not ready yet."""
        return bool(self._starting)

    def give_back(self, worker: Worker) -> None:
        """Take back a worker that has answered everything."""
        self._idle.put(worker)

    def dismiss(self, worker: Worker) -> WorkerLost:
        """End a worker that did not answer, and return the error for it."""
        with self._lock:
            self._serving -= 1
        return worker.lost()

    def _start(self) -> None:
        count, self._left = self._left, 0
        try:
            for _ in range(count):
                self._started.append(Worker(self._service))
        except OSError:
            pass  # the system has no room for more processes; those that there are do
        self._starting = list(self._started)
        if self._started:
            self._watching.start()

    def _watch(self) -> None:
        """End all when the run is asked to stop: one may be frozen in the middle of an answer."""
        while not self._is_closed.wait(_LOOK_SECONDS):
            try:
                self._check()
            except RunCancelled:
                for worker in self._started:
                    worker.kill()
                return

    def _greet(self) -> None:
        starting, self._starting = self._starting, []
        for worker in starting:
            try:
                if not worker.is_ready():
                    self._starting.append(worker)
                    continue
            except WorkerLost:
                continue
            self._serving += 1
            self._idle.put(worker)
