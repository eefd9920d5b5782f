"""What this machine knows of runs that it has begun and the server has not seen end.

It outlives the process: a run that was cut short is taken up again where its snapshot is already
published, and no second one is made.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from attrs import evolve, frozen

from backapp_core.codec import from_plain, to_plain
from backapp_core.engine.backup import absolute_roots
from backapp_core.errors import InvalidName, InvalidSettings
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.jobs import Job
from backapp_core.model.snapshots import Counts, Snapshot
from backapp_core.secret_files import write_private_file

FOLDER = "runs"
_ID = re.compile(r"[0-9a-f]{32}")


@frozen
class BegunRun:
    """A run that was claimed here and has not ended for the server."""

    run_id: str
    fence: int
    """Of the claim that was the last one."""
    began_at: datetime | None = None
    """When its first attempt began to back up, by this machine's clock; None before that."""
    known: tuple[str, ...] = ()
    """Ids of the snapshots that were there at that moment."""
    snapshot: Snapshot | None = None
    """What it published."""
    counts: Counts | None = None
    objects: tuple[ObjectSeen, ...] | None = None
    """What it wrote; None if the process ended before it could say so."""


class RunLedger:
    """One small file per run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, run_id: str) -> BegunRun | None:
        """Return what is known of a run, None if it was not begun here.

        Raises:
            InvalidName: If no run has such an id.
        """
        return _read(self._path(run_id))

    def put(self, begun: BegunRun) -> None:
        """Remember a run; when this returns, it survives a power cut.

        Raises:
            InputError: If it cannot be written.
            InvalidName: If no run has such an id.
        """
        write_private_file(self._path(begun.run_id), json.dumps(to_plain(begun)))

    def note_snapshot(self, run_id: str, snapshot: Snapshot) -> None:
        """Remember what a run that is remembered has published.

        Raises:
            InputError: If it cannot be written.
            InvalidName: If no run has such an id.
        """
        begun = self.get(run_id)
        if begun is not None:
            self.put(evolve(begun, snapshot=snapshot))

    def remove(self, run_id: str) -> None:
        """Forget a run; forgetting what is unknown is fine.

        Raises:
            InvalidName: If no run has such an id.
        """
        self._path(run_id).unlink(missing_ok=True)

    def all(self) -> Iterable[BegunRun]:
        """Return all that are remembered; what cannot be read is left out."""
        found = [_read(path) for path in sorted(self._folder.glob("*.json"))]
        return [one for one in found if one is not None]

    def forget_before(self, moment: datetime) -> None:
        """Forget the runs of which nothing was noted since ``moment``."""
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                if path.stat().st_mtime < moment.timestamp():
                    path.unlink()

    def _path(self, run_id: str) -> Path:
        if not _ID.fullmatch(run_id):
            raise InvalidName("the id of a run is 32 hex digits")
        return self._folder / f"{run_id}.json"


def published_by(
    begun: BegunRun, job: Job, there: Iterable[Snapshot], others: Iterable[BegunRun]
) -> Snapshot | None:
    """Return the snapshot that a run published before its process ended; None if it did not.

    It is the one that was noted; or else, since the process may have ended in between, the first
    that was not there before, is of the same sources and tags, and no other run's.
    """
    there = list(there)
    roots = tuple(sorted(set(absolute_roots(job.roots))))
    if begun.snapshot is not None:
        return next((one for one in there if one.id == begun.snapshot.id), None)
    if begun.began_at is None:
        return None
    taken = {one.snapshot.id for one in others if one.snapshot and one.run_id != begun.run_id}
    return next(
        (
            one
            for one in there
            if one.id not in taken
            and one.id not in begun.known
            and one.taken_at >= begun.began_at
            and one.roots == roots
            and one.tags == tuple(sorted(set(job.tags)))
        ),
        None,
    )


def _read(path: Path) -> BegunRun | None:
    try:
        plain = json.loads(path.read_bytes())
        return from_plain(plain, BegunRun, source=f"the record {path}")
    except (OSError, ValueError, InvalidSettings):
        return None  # as if it had not begun: at worst a second snapshot of the same is made
