"""What ids are called on pages, and what a form offers to choose from."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.names import to_line
from backapp_core.model.runs import Run
from backapp_core.ports.tenants import TenantStore

MOST_OFFERED = 200
"""Of more than that nobody finds anything; then the name is typed."""
GONE = "a machine that is gone"


@frozen
class Choice:
    """Something that a form offers."""

    value: str
    name: str
    """What the form takes as well."""
    words: str


def agent_names(store: TenantStore, ids: Iterable[str]) -> Mapping[str, str]:
    """Return what machines are called, by id; those that are not there are not."""
    return {one.id: one.name for one in store.agents.find(set(ids)).values()}


def run_names(store: TenantStore, runs: Iterable[Run]) -> Mapping[str, str]:
    """Return what runs are called, by id: the job, or of a restore the repository."""
    named = list(runs)
    orders = (run.restore for run in named if run.restore)
    repositories = store.repositories.find({one.repository_id for one in orders})
    return {run.id: _run_name(run, repositories) for run in named}


def _run_name(run: Run, repositories: Mapping[str, ManagedRepository]) -> str:
    if run.restore is None:
        return run.job_name
    found = repositories.get(run.restore.repository_id)
    return found.name if found else "a repository that is gone"


def machines_to_choose(store: TenantStore, *, only_enrolled: bool) -> Sequence[Choice] | None:
    """Return all machines, None if there are too many to choose from."""
    found = store.agents.list(limit=MOST_OFFERED + 1)
    if len(found) > MOST_OFFERED:
        return None
    return [
        Choice(
            one.id, one.name, to_line(one.name) + (" (key taken back)" if one.revoked_at else "")
        )
        for one in found
        if not (only_enrolled and one.revoked_at)
    ]


def repositories_to_choose(store: TenantStore) -> Sequence[Choice] | None:
    """Return all repositories with their machines, None if there are too many to choose from."""
    if store.repositories.standing(limit=0).all > MOST_OFFERED:
        return None
    found = store.repositories.list(limit=MOST_OFFERED)
    names = agent_names(store, (one.agent_id for one in found))
    return [
        Choice(
            one.id, one.name, f"{to_line(one.name)} (on {to_line(names.get(one.agent_id, GONE))})"
        )
        for one in found
    ]


def jobs_to_choose(store: TenantStore, chosen: str) -> Sequence[Choice] | None:
    """Return all jobs and the chosen one, None if there are too many to choose from."""
    if store.jobs.count() > MOST_OFFERED:
        return None
    names = {one.name for one in store.jobs.list(limit=MOST_OFFERED)}
    if chosen:
        names.add(chosen)
    return [Choice(name, name, to_line(name)) for name in sorted(names)]
