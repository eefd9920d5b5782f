"""Says how far a restore has come, a few times a second."""

import threading
from collections.abc import Sequence

from typing_extensions import override

from backapp_core.clock import Clock
from backapp_core.engine.extract_ledger import Ledger
from backapp_core.events import Progress, Verb
from backapp_core.model.entries import Node
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.targets import Errand, FileMaker, Target, TargetFile

_BIG_BYTES = 32 << 20


class Pace:
    """Says when something is due that happens a few times a second; for any thread."""

    def __init__(self, clock: Clock, *, every_seconds: float = 0.25) -> None:
        self._clock = clock
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._due_seconds = clock.monotonic_seconds()

    def is_due(self) -> bool:
        """Return True at most once in each period."""
        now_seconds = self._clock.monotonic_seconds()
        if now_seconds < self._due_seconds:
            return False
        with self._lock:
            if now_seconds < self._due_seconds:
                return False
            self._due_seconds = now_seconds + self._every_seconds
            return True


class ReportingTarget(Target):
    """Passes everything on, tells about it, and stops when somebody wishes so."""

    def __init__(
        self,
        inner: Target,
        ledger: Ledger,
        surroundings: Surroundings,
        files_total: int | None,
        bytes_total: int | None,
    ) -> None:
        self._inner = inner
        self._ledger = ledger
        self._surroundings = surroundings
        self._files_total = files_total
        self._bytes_total = bytes_total
        self._pace = Pace(surroundings.clock)
        self._is_closed = False

    @override
    def directory(self, node: Node) -> None:
        self.step()
        self._inner.directory(node)

    @override
    def file(self, node: Node) -> TargetFile | None:
        self.step()
        file = self._inner.file(node)
        # Small files are not worth a second object.
        if file is None or node.size_bytes < _BIG_BYTES:
            return file
        return _ReportingFile(file, self)

    @override
    def file_maker(self) -> FileMaker | None:
        return self._inner.file_maker()

    @override
    def hand_over(self, nodes: Sequence[Node]) -> Errand | None:
        self.step()
        return self._inner.hand_over(nodes)

    @override
    def links_follow(self) -> None:
        self._inner.links_follow()

    @override
    def link(self, node: Node, existing: bytes) -> None:
        self.step()
        self._inner.link(node, existing)

    @override
    def special(self, node: Node) -> None:
        self.step()
        self._inner.special(node)

    @override
    def close(self) -> None:
        self._inner.close()
        if not self._is_closed:
            self._is_closed = True
            self._tell()

    def step(self) -> None:
        """Stop if that is wished; tell how far it is, if that is due.

        Raises:
            RunCancelled: If the run is asked to stop.
        """
        self._surroundings.cancel.check()
        if self._pace.is_due():
            self._tell()

    def _tell(self) -> None:
        ledger = self._ledger
        self._surroundings.events(
            Progress(
                Verb.RESTORE,
                files_done=ledger.files + ledger.kept,
                bytes_done=ledger.written_bytes,
                files_total=self._files_total,
                bytes_total=self._bytes_total,
                current=ledger.current,
                problems=ledger.problems,
            )
        )


class _ReportingFile(TargetFile):
    def __init__(self, inner: TargetFile, target: ReportingTarget) -> None:
        self._inner = inner
        self._target = target

    @override
    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        self._target.step()
        self._inner.write_at(offset, data)

    @override
    def finish(self) -> None:
        self._inner.finish()

    @override
    def abandon(self, reason: str) -> None:
        self._inner.abandon(reason)
