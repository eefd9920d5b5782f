"""What happened, said to whoever listens: the engine emits, doors draw.

A sink is any callable that takes an event. It is called from the thread that does the work, quickly
and without raising; code always has a sink (`void` at least) and never asks whether there is one.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from attrs import field, frozen

from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Snapshot


class Verb(StrEnum):
    """What is being done."""

    BACKUP = "backup"
    RESTORE = "restore"
    CHECK = "check"
    FORGET = "forget"
    PRUNE = "prune"
    COPY = "copy"


@frozen
class Progress:
    """How far a verb has come; sent a few times a second at most, and once at its end."""

    verb: Verb
    files_done: int
    bytes_done: int
    files_total: int | None = None
    """None while it is not known; an estimate from the last run otherwise."""
    bytes_total: int | None = None
    current: bytes = b""
    """Path of what is being worked on; of a copy, the short id of the snapshot."""
    problems: int = 0

    @property
    def has_files(self) -> bool:
        """Whether files are counted; a prune and a copy move what is stored."""
        return self.verb not in {Verb.PRUNE, Verb.COPY}


@frozen
class Problem:
    """One entry that could not be read, changed while it was read, or could not be restored."""

    verb: Verb
    path: bytes
    reason: str
    """One sentence without a full stop."""


class Level(StrEnum):
    """How loud a line is."""

    DEBUG = "debug"
    """For plugins; the engine itself is never so talkative."""
    INFO = "info"
    WARNING = "warning"


@frozen
class LogLine:
    """Something worth knowing that concerns no single entry."""

    level: Level
    text: str


@frozen
class FileDone:
    """One file was handled; sent only where a listener asked for every file, or for a dry run."""

    verb: Verb
    path: bytes
    action: str
    """``new``, ``changed``, ``unmodified``, ``restored``, ``kept``; in a dry run ``found``."""
    size_bytes: int


@frozen
class SnapshotSaved:
    """A backup is complete and its snapshot can be restored from now on."""

    snapshot: Snapshot


@frozen
class RunMoved:
    """A run changed its state."""

    run: Run


Event = Progress | Problem | LogLine | FileDone | SnapshotSaved | RunMoved
EventSink = Callable[[Event], None]
_E = TypeVar("_E", bound=Event)


def void(event: Event) -> None:
    """Take every event and do nothing."""
    del event


@frozen
class Recording:
    """A sink that keeps all events, in order; for tests and for programs that look afterwards."""

    events: list[Event] = field(factory=list[Event])

    def __call__(self, event: Event) -> None:
        """Keep ``event``."""
        self.events.append(event)

    def of(self, kind: type[_E]) -> list[_E]:
        """Return the recorded events of one class."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def problem_paths(self) -> list[bytes]:
        """Paths of the recorded problems, in order."""
        return [event.path for event in self.events if isinstance(event, Problem)]


@frozen
class FanOut:
    """A sink that passes every event on to several."""

    sinks: Sequence[EventSink]

    def __call__(self, event: Event) -> None:
        """Pass ``event`` on to each, in their order."""
        for sink in self.sinks:
            sink(event)
