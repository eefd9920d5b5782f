"""What somebody who looks after everything wants to see first: what is wrong, what happens now."""

from datetime import datetime, timedelta

from attrs import frozen

from backapp_core.events import Progress
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.managed_repositories import RepositoryStanding
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.tenants import AgentStanding, TenantStore

OF_LATE = timedelta(days=7)
_MOST_OF_A_SORT = 10


@frozen
class Overview:
    """The state of one tenant's things at one moment; of each sort ten at most are named."""

    agents: AgentStanding
    """How many machines there are whose key is good, and some that are not in touch."""
    repositories: RepositoryStanding
    """How many there are, and some that are lost with their machine."""
    jobs: int
    failed: tuple[Run, ...]
    """That failed during the last seven days (`OF_LATE`), the latest requested first."""
    going: tuple[Run, ...]
    """That run or wait, the running ones first."""
    latest: tuple[Run, ...]
    """Runs in any state, the latest requested first."""


def overview(store: TenantStore, *, at: datetime, alive_seconds: float) -> Overview:
    """Look at everything of a tenant once.

    Args:
        store: What the tenant owns.
        at: Now, by the store's clock.
        alive_seconds: For how long a machine counts as in touch that says nothing more.
    """

    def runs(state: RunState | None = None, since: datetime | None = None) -> tuple[Run, ...]:
        chosen = RunFilter(state=state, since=since, limit=_MOST_OF_A_SORT)
        return tuple(store.runs.list(chosen))

    return Overview(
        agents=store.agents.standing(alive_seconds=alive_seconds, limit=_MOST_OF_A_SORT),
        repositories=store.repositories.standing(limit=_MOST_OF_A_SORT),
        jobs=store.jobs.count(),
        failed=runs(RunState.FAILED, at - OF_LATE),
        going=runs(RunState.RUNNING) + runs(RunState.REQUESTED),
        latest=runs(),
    )


@frozen
class Pace:
    """How fast a run goes on average since it began, and how long it will go on at that."""

    rate_bytes: float
    """Per second."""
    left_seconds: float | None
    """None while it is not known how much there is."""


def pace_of(run: Run, progress: Progress | None, *, at: datetime) -> Pace | None:
    """Return how fast a running run goes; None where nothing can be said yet."""
    if run.state is not RunState.RUNNING or run.started_at is None or progress is None:
        return None
    seconds = (at - run.started_at).total_seconds()
    if seconds < 1 or progress.bytes_done <= 0:
        return None
    rate_bytes = progress.bytes_done / seconds
    if progress.bytes_total is None:
        return Pace(rate_bytes, None)
    return Pace(rate_bytes, max(0, progress.bytes_total - progress.bytes_done) / rate_bytes)
