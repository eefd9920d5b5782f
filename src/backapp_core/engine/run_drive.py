"""Drives a run to its end, whoever asked for it: this machine's own store, or a server."""

from collections.abc import Callable
from datetime import datetime

from attrs import evolve

from backapp_core.engine import backup, watch
from backapp_core.engine.opening import Opened
from backapp_core.errors import BackappError, RunCancelled
from backapp_core.events import Level, LogLine, RunMoved
from backapp_core.manager import PluginManager
from backapp_core.model.jobs import Job
from backapp_core.model.requests import BackupRequest
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Counts
from backapp_core.ports.archivers import BackupResult
from backapp_core.ports.surroundings import Surroundings

Done = tuple[str, Counts]
"""Id of a snapshot, and what was counted."""


def drive(
    surroundings: Surroundings,
    running: Run,
    work: Callable[[], Done],
    *,
    now: Callable[[], datetime] | None = None,
) -> Run:
    """Tell that it began, do the work, and return the run in its final state; never raises.

    Args:
        surroundings: Who is told.
        running: The run.
        work: What it consists of.
        now: The clock that ends go by; that of the surroundings if none is given.
    """
    tell_time = now or surroundings.clock.now
    try:
        surroundings.events(RunMoved(running))
        snapshot_id, counts = work()
    except RunCancelled:
        return running.cancel(at=tell_time())
    except BackappError as error:
        return running.fail(at=tell_time(), error=error.message)
    except Exception as error:  # noqa: BLE001  # a plugin's fault; no run may seem to go on for ever
        return running.fail(at=tell_time(), error=unexpected(error))
    return running.complete(at=tell_time(), snapshot_id=snapshot_id, counts=counts)


def take_job(
    plugins: PluginManager, surroundings: Surroundings, opened: Opened, job: Job
) -> tuple[BackupResult, Counts]:
    """Back up what ``job`` names; the counts include what is wrong with the repository.

    Raises:
        BackappError: What `backup.take` raises.
    """
    repository = opened.repository
    vanished = watch.compare(surroundings, repository, repository.snapshots())
    result = backup.take(
        plugins,
        surroundings,
        repository,
        request_of(job),
        folder=opened.folder,
        ahead=opened.ahead,
    )
    if result.is_skipped:
        text = f"nothing changed since snapshot {result.snapshot.short_id}; none was made"
        surroundings.events(LogLine(Level.INFO, text))
    counts = result.counts
    # A warning in a log that nobody reads would not be enough.
    return result, evolve(counts, problems=counts.problems + opened.is_another + bool(vanished))


def request_of(job: Job) -> BackupRequest:
    """Return the backup that ``job`` stands for."""
    return BackupRequest(
        roots=job.roots,
        scanner=job.scanner,
        scanner_settings=job.scanner_settings,
        tags=job.tags,
        skips_unchanged=job.skips_unchanged,
    )


def unexpected(error: Exception) -> str:
    """Return the sentence about an error that is none of ours."""
    return f"unexpected error: {' '.join(f'{type(error).__name__}: {error}'.split())}"
