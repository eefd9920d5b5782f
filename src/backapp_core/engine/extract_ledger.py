"""Counts what a restore does and says what it could not do."""

import threading

from backapp_core.events import EventSink, FileDone, Problem, Verb
from backapp_core.model.entries import Node
from backapp_core.model.restores import RestoreOutcome

_LISTED = 10_000


class Ledger:
    """Figures of one restore; may be read at any time from any thread, and written by several."""

    __slots__ = (
        "_events",
        "_incomplete",
        "_lock",
        "_not_restored",
        "_reports_files",
        "current",
        "directories",
        "files",
        "kept",
        "others",
        "problems",
        "restored_bytes",
        "withheld",
        "written_bytes",
    )

    def __init__(self, events: EventSink, *, reports_files: bool = False) -> None:
        self._events = events
        self._reports_files = reports_files
        self._lock = threading.Lock()
        self._not_restored: list[tuple[bytes, str]] = []
        self._incomplete: list[tuple[bytes, str]] = []
        self.current = b""
        """Path of the file that was begun last."""
        self.files = 0
        self.directories = 0
        self.others = 0
        self.kept = 0
        self.problems = 0
        self.withheld = 0
        self.restored_bytes = 0
        self.written_bytes = 0
        """Content written so far, that of unfinished files included; for progress."""

    def wrote(self, length_bytes: int) -> None:
        """Count content of an unfinished file."""
        with self._lock:
            self.written_bytes += length_bytes

    def file_done(self, node: Node, size_bytes: int) -> None:
        """Count a regular file that has its final name."""
        with self._lock:
            self.files += 1
            self.restored_bytes += size_bytes
        if self._reports_files:
            self._events(FileDone(Verb.RESTORE, node.path, "restored", size_bytes))

    def entry_kept(self, node: Node) -> None:
        """Count an entry that stays as it was."""
        with self._lock:
            self.kept += 1
        if self._reports_files:
            self._events(FileDone(Verb.RESTORE, node.path, "kept", node.size_bytes))

    def directory_done(self) -> None:
        """Count a directory."""
        with self._lock:
            self.directories += 1

    def other_done(self) -> None:
        """Count a symlink, fifo, socket or device."""
        with self._lock:
            self.others += 1

    def note(self, path: bytes, fault: str, *, is_withheld: bool) -> None:
        """Note how giving metadata to an entry went; ``fault`` is empty if nothing failed."""
        if is_withheld:
            with self._lock:
                self.withheld += 1
        if fault:
            self.lack(path, fault)

    def refuse(self, path: bytes, reason: str) -> None:
        """Report an entry that is not restored."""
        self._report(self._not_restored, path, reason)

    def lack(self, path: bytes, reason: str) -> None:
        """Report an entry that is there, but not with all its metadata."""
        self._report(self._incomplete, path, reason)

    def outcome(self) -> RestoreOutcome:
        """Return the figures as they are now."""
        with self._lock:
            return RestoreOutcome(
                files=self.files,
                restored_bytes=self.restored_bytes,
                directories=self.directories,
                others=self.others,
                kept=self.kept,
                withheld=self.withheld,
                problems=self.problems,
                not_restored=tuple(self._not_restored),
                incomplete=tuple(self._incomplete),
            )

    def _report(self, listed: list[tuple[bytes, str]], path: bytes, reason: str) -> None:
        with self._lock:
            self.problems += 1
            if len(listed) < _LISTED:
                listed.append((path, reason))
        self._events(Problem(Verb.RESTORE, path, reason))
