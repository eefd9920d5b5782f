"""Words of pages: how long ago, what became of a run, what happened."""

from datetime import UTC, datetime

from attrs import frozen

from backapp_core.events import Event, FileDone, Level, LogLine, Problem, Progress, RunMoved
from backapp_core.model.names import to_line, to_text
from backapp_core.model.quantities import count, duration, size
from backapp_core.model.runs import Run, RunState

_SPANS = (("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600))
_MINUTE = 60
_NS = 1_000_000_000


@frozen
class Remark:
    """A few words, and of which sort: ``good``, ``late``, ``bad``, ``busy`` or ``off``."""

    sort: str
    words: str


def sentence(text: str) -> str:
    """Return words as a whole sentence on one line; messages of ours are written without."""
    line = to_line(text).strip()
    return line[:1].upper() + line[1:] + ("" if line.endswith((".", "!", "?")) else ".")


def span(seconds: float) -> str:
    """Return a stretch of time by its largest unit: ``3 days``, ``1 minute``, ``12 seconds``."""
    for unit, length in (*_SPANS, ("minute", _MINUTE)):
        if seconds >= length:
            return count(int(seconds // length), unit)
    return count(max(0, int(seconds)), "second")


def relative(at: datetime, now: datetime) -> str:
    """Return how far a moment is from now: ``3 minutes ago``, ``in 2 hours``, ``just now``."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < _MINUTE:
        return "just now" if seconds >= 0 else "in a moment"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def moment_of_ns(moment_ns: object) -> datetime | None:
    """Return a file's time; None if it is none, or lies beyond the calendar."""
    if not isinstance(moment_ns, int):
        return None
    try:
        return datetime.fromtimestamp(moment_ns // _NS, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def state_of(run: Run) -> Remark:
    """Return where a run stands."""
    if run.has_warnings:
        return Remark("late", "completed with warnings")
    if run.state is RunState.RUNNING and run.cancel_wished_at is not None:
        return Remark("busy", "being cancelled")
    return _STATES[run.state]


_STATES = {
    RunState.REQUESTED: Remark("off", "waiting"),
    RunState.RUNNING: Remark("busy", "running"),
    RunState.COMPLETED: Remark("good", "completed"),
    RunState.FAILED: Remark("bad", "failed"),
    RunState.CANCELLED: Remark("off", "cancelled"),
}


def took(run: Run, now: datetime) -> str:
    """Return how long a run went on, up to now if it still does; empty if it never began."""
    if run.started_at is None:
        return ""
    return duration(((run.ended_at or now) - run.started_at).total_seconds())


def event_words(event: Event) -> Remark:
    """Return what happened, on one line."""
    match event:
        case Problem():
            said = Remark("late", f"{to_text(event.path)}: {event.reason}")
        case LogLine():
            said = Remark("late" if event.level is Level.WARNING else "", event.text)
        case RunMoved():
            state = state_of(event.run)
            error = f": {event.run.error}" if event.run.error else ""
            said = Remark(state.sort, f"the run is {state.words}{error}")
        case Progress():
            said = Remark("", f"{count(event.files_done, 'file')}, {size(event.bytes_done)}")
        case FileDone():
            said = Remark("", f"{event.action} {to_text(event.path)}, {size(event.size_bytes)}")
        case _:
            said = Remark("good", f"snapshot {event.snapshot.short_id} is saved")
    return Remark(said.sort, to_line(said.words))
