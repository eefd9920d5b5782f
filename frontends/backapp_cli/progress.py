"""Shows events while a verb runs: a bar on a terminal, else plain or JSON lines.

A sink is called from the thread that works, so it only remembers; drawing is done by a thread of
its own a few times a second, and not at all within the first moments of a verb.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, assert_never

from attrs import evolve
from typing_extensions import override

from backapp_cli.show import Output
from backapp_core.errors import BackappError
from backapp_core.events import (
    Event,
    FileDone,
    Level,
    LogLine,
    Problem,
    Progress,
    RunMoved,
    SnapshotSaved,
)
from backapp_core.model.names import to_text
from backapp_core.model.quantities import count, size

if TYPE_CHECKING:
    from backapp_cli.bar import Bar

_BAR_AFTER_SECONDS = 0.3
_LINE_EVERY_SECONDS = 10.0
_JSON_EVERY_SECONDS = 0.5


class Shown(Protocol):
    """A sink that can be told to step aside."""

    def __call__(self, event: Event) -> None:
        """Take an event."""
        ...

    def announce(self, text: str) -> None:
        """Say something at once; safe in a signal handler."""
        ...

    def pause(self) -> None:
        """Leave the terminal alone until the next progress."""
        ...


class Lines:
    """Plain lines on standard error: what went wrong, and how far it is if that is wanted."""

    def __init__(self, output: Output, verbosity: int) -> None:
        self._output = output
        self._verbosity = verbosity
        self._shown_at = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Progress():
                self.progress(event)
            case Problem():
                self.note(f"{to_text(event.path)}: {event.reason}")
            case LogLine():
                self._log(event)
            case FileDone():
                if self._verbosity > 1:
                    self._output.line(f"{event.action:<10}  {to_text(event.path)}")
            case SnapshotSaved() | RunMoved():
                pass
            case _:
                assert_never(event)

    def progress(self, event: Progress) -> None:
        """Write how far it is, now and then, if more was asked for than usual."""
        now = time.monotonic()
        if self._verbosity and now - self._shown_at >= _LINE_EVERY_SECONDS:
            self._shown_at = now
            self.note(f"{event.verb}: {_done(event)}")

    def note(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            self._output.note(text)

    def announce(self, text: str) -> None:
        """Say something at once; unbuffered, since a signal may come in the middle of writing."""
        os.write(2, f"{text}\n".encode())

    def pause(self) -> None:
        """Do nothing: lines are never in the way."""

    def _log(self, event: LogLine) -> None:
        least = {Level.WARNING: 0, Level.INFO: 1, Level.DEBUG: 2}[event.level]
        if self._verbosity >= least:
            prefix = "warning: " if event.level is Level.WARNING else ""
            self.note(f"{prefix}{event.text}")


class OnTerminal(Lines):
    """A bar that the lines scroll above."""

    def __init__(
        self, output: Output, verbosity: int, estimate: Callable[[], int] | None = None
    ) -> None:
        """Draw on standard error.

        Args:
            output: Where lines go.
            verbosity: How much is said.
            estimate: Finds out how many bytes there are; called in a thread, and only if a bar is
                drawn and the engine does not know.
        """
        super().__init__(output, verbosity)
        self._first_at = 0.0
        self._bar: Bar | None = None
        self._estimate = estimate
        self._estimated_bytes: int | None = None

    @override
    def progress(self, event: Progress) -> None:
        if self._bar is None:
            now = time.monotonic()
            self._first_at = self._first_at or now
            # What is over in a moment needs no bar, nor the time that it takes to load one.
            if now - self._first_at < _BAR_AFTER_SECONDS:
                return
            from backapp_cli.bar import Bar

            self._bar = Bar()
            if event.bytes_total is None and self._estimate is not None:
                threading.Thread(target=self._find_total, daemon=True).start()
        if event.bytes_total is None and self._estimated_bytes is not None:
            event = evolve(event, bytes_total=self._estimated_bytes)
        self._bar.show(event)

    def _find_total(self) -> None:
        estimate, self._estimate = self._estimate, None
        # What is wrong with a source is said by the run itself.
        with suppress(BackappError):
            self._estimated_bytes = estimate() if estimate else None

    @override
    def note(self, text: str) -> None:
        bar = self._bar
        if bar is None:
            super().note(text)
        else:
            bar.print_above(text)

    @override
    def announce(self, text: str) -> None:
        bar = self._bar
        if bar is None:
            super().announce(text)
        else:
            bar.remark = text

    @override
    def pause(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._first_at = 0.0


class AsJson:
    """JSON lines on standard output, in the words of restic."""

    def __init__(self, output: Output, verbosity: int) -> None:
        self._output = output
        self._verbosity = verbosity
        self._shown_at = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            self._take(event)
            if not isinstance(event, FileDone):
                self._output.flush()

    def announce(self, text: str) -> None:
        """Say something to whoever started the program."""
        os.write(2, f"{text}\n".encode())

    def pause(self) -> None:
        """Do nothing: lines are never in the way."""

    def _take(self, event: Event) -> None:
        match event:
            case Progress():
                self._status(event)
            case Problem():
                item = to_text(event.path)
                error: dict[str, object] = {"message": event.reason}
                self._output.message(
                    "error", {"error": error, "during": str(event.verb), "item": item}
                )
            case LogLine():
                self._output.message("log", {"level": str(event.level), "message": event.text})
            case FileDone():
                if self._verbosity > 1:
                    self._output.message("verbose_status", _file_fields(event))
            case SnapshotSaved() | RunMoved():
                pass
            case _:
                assert_never(event)

    def _status(self, event: Progress) -> None:
        now = time.monotonic()
        if self._output.is_quiet or now - self._shown_at < _JSON_EVERY_SECONDS:
            return
        self._shown_at = now
        fields: dict[str, object] = {
            "action": str(event.verb),
            "files_done": event.files_done,
            "bytes_done": event.bytes_done,
            "error_count": event.problems,
            "current_files": [to_text(event.current)] if event.current else [],
        }
        if event.files_total is not None:
            fields["total_files"] = event.files_total
        if event.bytes_total:
            fields["total_bytes"] = event.bytes_total
            fields["percent_done"] = round(min(1.0, event.bytes_done / event.bytes_total), 4)
        self._output.message("status", fields)


def _file_fields(event: FileDone) -> dict[str, object]:
    return {
        "action": event.action,
        "item": to_text(event.path),
        "data_size": event.size_bytes,
    }


def _done(event: Progress) -> str:
    words = f"{count(event.files_done, 'file')}, " if event.has_files else ""
    words += size(event.bytes_done)
    if event.bytes_total:
        words += f" of {size(event.bytes_total)}"
    if event.problems:
        words += f", {count(event.problems, 'error')}"
    return words
