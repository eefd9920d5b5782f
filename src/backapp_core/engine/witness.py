"""Remembers, in this machine's state folder, which snapshots were seen; notices what vanished.

A record is a journal of one line per fact, only ever appended to, in one write that is
synchronised: a crash loses at most the line that was being written, two processes cannot undo one
another's lines, and a line that is not whole is passed over. Ids never come back, so what was
removed by us stays so, whatever is written later.
"""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from attrs import define, field, frozen

from backapp_core.model.snapshots import Snapshot

_HEADER = "# BackApp: snapshots seen in a repository; delete this file to forget them\n"
_ID = re.compile(r"[0-9a-f]{1,128}")


@frozen
class Vanished:
    """A snapshot that was seen here and is gone, though this machine did not remove it."""

    id: str
    taken_at: datetime
    hostname: str


@define
class _Record:
    """What the journal says when read to its end."""

    seen: dict[str, tuple[str, Vanished]] = field(factory=dict[str, tuple[str, Vanished]])
    """By id: the id before tags were changed, and the facts."""
    gone: set[str] = field(factory=set[str])
    """Removed by us, or known and accepted to be gone."""

    def add(self, line: str) -> None:
        match line.split(" ", 4):
            case ["seen", snapshot_id, original_id, taken_at, hostname] if _ID.fullmatch(
                snapshot_id
            ):
                try:
                    facts = Vanished(snapshot_id, datetime.fromisoformat(taken_at), hostname)
                except ValueError:
                    return  # a line that a crash cut short
                self.seen.setdefault(snapshot_id, (original_id, facts))
            case ["gone", snapshot_id]:
                self.gone.add(snapshot_id)
            case ["kept", snapshot_id]:
                self.gone.discard(snapshot_id)
            case _:
                pass  # the header, an empty line, or one that a crash cut short


class Witness:
    """The record of one repository."""

    def __init__(self, state_folder: Path, repository_id: str) -> None:
        if not _ID.fullmatch(repository_id):
            raise ValueError(f"repository id {repository_id!a} is no hex number")
        self._path = state_folder / "witness" / f"{repository_id}.log"

    def compare(self, snapshots: Sequence[Snapshot]) -> list[Vanished]:
        """Return what was seen before and is not among ``snapshots``; remember what is new.

        Raises:
            OSError: If the state folder cannot be read or written.
        """
        record = self._read()
        present = {snapshot.id for snapshot in snapshots}
        present |= {snapshot.original_id for snapshot in snapshots if snapshot.original_id}
        self._append(_seen(one) for one in snapshots if one.id not in record.seen)
        vanished = [
            facts
            for original_id, facts in record.seen.values()
            if facts.id not in record.gone
            and facts.id not in present
            and original_id not in present
        ]
        return sorted(vanished, key=lambda facts: (facts.taken_at, facts.id))

    def saw(self, snapshot: Snapshot) -> None:
        """Remember one snapshot.

        Raises:
            OSError: If the state folder cannot be written.
        """
        self._append([_seen(snapshot)])

    def will_remove(self, snapshot_ids: Iterable[str]) -> None:
        """Remember that we are about to remove these; said before, lest a crash raise an alarm.

        Raises:
            OSError: If the state folder cannot be written.
        """
        self._append(f"gone {snapshot_id}" for snapshot_id in snapshot_ids)

    def did_not_remove(self, snapshot_ids: Iterable[str]) -> None:
        """Take `will_remove` back.

        Raises:
            OSError: If the state folder cannot be written.
        """
        self._append(f"kept {snapshot_id}" for snapshot_id in snapshot_ids)

    def _read(self) -> _Record:
        record = _Record()
        try:
            text = self._path.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return record
        for line in text.splitlines():
            record.add(line)
        return record

    def _append(self, lines: Iterable[str]) -> None:
        text = "\n".join(lines)
        if not text:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The new line before and after closes one that a crash left open.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._path, flags, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            opening = _HEADER if file.tell() == 0 else "\n"
            file.write(f"{opening}{text}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def _seen(snapshot: Snapshot) -> str:
    hostname = "".join(character for character in snapshot.hostname if character.isprintable())
    original_id = snapshot.original_id or snapshot.id
    return f"seen {snapshot.id} {original_id} {snapshot.taken_at.isoformat()} {hostname}"
