"""Has packs looked at by workers."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Final, final

from typing_extensions import override

from backapp_core.plugin_api import Closing, HasFolder, Level
from backapp_plugins.archivers.restic.check.pack_look import PackClaims, PackReading
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.workers.crew import Crew, may_be_started
from backapp_plugins.archivers.restic.workers.worker import Worker

_WORTH_WORKERS_BYTES: Final = 128 << 20
"""Below, starting workers takes longer than they save."""


@final
class PackReaders(Closing):
    """The workers of one check, if there are any; a context manager, for any number of threads.

    Nothing depends on them: what they are not given, could not read or had when they ended is left
    to whoever asked.
    """

    def __init__(self, place: Place) -> None:
        """Prepare; none is started before `expect`."""
        self._place = place
        self._check = place.surroundings.cancel.check
        self._crew = self._recruited()

    @override
    def close(self) -> None:
        """End all of them."""
        if self._crew is not None:
            self._crew.close()

    def expect(self, sizes: Iterable[int]) -> None:
        """Start workers if what is to be read pays for them and none were started; never waits.

        Args:
            sizes: How large each pack is that is to be read, in bytes; asked for as far as needed.
        """
        if self._crew is not None and any(
            total >= _WORTH_WORKERS_BYTES for total in accumulate(sizes)
        ):
            self._crew.prepare(_WORTH_WORKERS_BYTES)

    def are_ready(self) -> bool:
        """Wait until workers are ready, and say whether any are.

        Raises:
            RunCancelled: If the run is asked to stop.
        """
        return self._crew is not None and self._crew.is_serving()

    def is_true(self, claims: PackClaims) -> bool | None:
        """Say whether a pack is what it must be; None if no worker can tell.

        Raises:
            RunCancelled: If the run is asked to stop.
        """
        crew = self._crew
        worker = crew.borrow(0) if crew is not None else None
        if crew is None or worker is None:
            return None
        try:
            answer = self._ask(worker, claims)
        except (EOFError, OSError):
            how = worker.end()
            crew.dismiss(worker)
            self._check()  # all are ended when the run is asked to stop
            self._place.say(
                Level.WARNING,
                f"a worker process {how}, perhaps for want of memory; the check goes on without it",
            )
            return None
        except BaseException:
            crew.dismiss(worker)
            raise
        crew.give_back(worker)
        return answer

    def _ask(self, worker: Worker, claims: PackClaims) -> bool | None:
        worker.connection.send(tuple(claims))
        answer: bool | None = worker.connection.recv()
        return answer

    def _recruited(self) -> Crew | None:
        transport, around = self._place.transport, self._place.surroundings
        if not (may_be_started(around) and isinstance(transport, HasFolder)):
            return None
        service = PackReading(self._place.key.master, transport.folder)
        return Crew(service, around.threads, self._check, start_at=_WORTH_WORKERS_BYTES)
