"""A job is run by one process at a time; what a process that died left behind is brought to an end.

The claim is a lock of the operating system on a file beside the store, so that all who share the
store share the claims; without such a place, on one in the state folder. It goes away with the
process that holds it, however that ended, so whoever gets it knows that nobody is at work.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from attrs import evolve

from backapp_core.errors import IllegalTransition, JobRunning, StoreUnavailable
from backapp_core.events import RunMoved
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.stores import RunFilter, Runs, Store
from backapp_core.ports.surroundings import Surroundings

ENDED_SILENTLY = "the process that ran it ended without a word"
_FOLDER = "claims"


@contextmanager
def claimed(surroundings: Surroundings, store: Store, job_name: str) -> Generator[Sequence[Run]]:
    """Hold the job ``job_name``, without waiting for it; give it back at the end.

    Yields:
        The runs that nobody was driving any more, the oldest first; they are failed now, or
        cancelled if they had not begun.

    Raises:
        JobRunning: If somebody else runs the job; names the run.
        StoreUnavailable: If the folder of claims cannot be written.
        StoreError: If the store fails.
    """
    import filelock  # noqa: PLC0415  # 10 ms that only running a job needs

    folder = store.claims_folder or surroundings.state_folder / _FOLDER
    path = folder / f"{job_name}.lock"
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise JobRunning(_whose(store.runs, job_name)) from None
    except OSError as error:
        raise StoreUnavailable(
            f"job '{job_name}' cannot be claimed in {path.parent}: {error.strerror or error}"
        ) from error
    try:
        yield _end_abandoned(surroundings, store.runs, job_name)
    finally:
        lock.release()


def _whose(runs: Runs, job_name: str) -> str:
    running = runs.list(RunFilter(job_name=job_name, state=RunState.RUNNING, limit=1))
    named = f" (run {running[0].id[:8]})" if running else ""
    return f"job '{job_name}' is running already{named}; wait until it ends"


def _end_abandoned(surroundings: Surroundings, runs: Runs, job_name: str) -> Sequence[Run]:
    ended: list[Run] = []
    for state in (RunState.REQUESTED, RunState.RUNNING):
        page = RunFilter(job_name=job_name, state=state)
        while found := runs.list(page):
            for run in found:
                # Somebody may cancel it by hand at this moment; then it is not ours to end.
                with suppress(IllegalTransition):
                    ended.append(_end(surroundings, runs, run))
    return sorted(ended, key=lambda run: run.requested_at)


def _end(surroundings: Surroundings, runs: Runs, run: Run) -> Run:
    now = surroundings.clock.now()
    if run.state is RunState.RUNNING:
        ended = run.fail(at=now, error=ENDED_SILENTLY)
    else:
        ended = evolve(run.cancel(at=now), error=ENDED_SILENTLY)
    runs.move(ended, from_state=run.state)
    runs.add_events(run.id, [(now, RunMoved(ended))])
    return ended
