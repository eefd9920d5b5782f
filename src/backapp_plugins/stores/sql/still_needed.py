"""Says what needs a machine or a repository that somebody wants to remove."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from backapp_core.plugin_api import StillInUse
from backapp_core.server_api import Agent, ManagedRepository
from backapp_plugins.stores.sql.runs import UNDER_WAY
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import JOBS, REPOSITORIES, RUNS

_MOST_NAMED = 5


def check_unused(connection: Connection, scope: Scope, repository: ManagedRepository) -> None:
    """Refuse to remove a repository that something needs; its row has to be held.

    Raises:
        StillInUse: If a job fills it, or a run that waits or goes on is about it; names them.
    """
    jobs = (
        select(JOBS.c.name).where(scope.of(JOBS, repository_id=repository.id)).order_by(JOBS.c.name)
    )
    if names := _some(connection, jobs):
        raise StillInUse(
            f"repository '{repository.name}' is filled by {_listed('job', names)};"
            " remove that first, or have it fill another repository"
        )
    runs = (
        select(RUNS.c.id)
        .where(scope.of(RUNS, repository_id=repository.id), RUNS.c.state.in_(UNDER_WAY))
        .order_by(RUNS.c.requested_at, RUNS.c.id)
    )
    if names := _some(connection, runs):
        raise StillInUse(
            f"repository '{repository.name}' is in use by {_listed('run', [n[:8] for n in names])};"
            " wait for the end of that, or cancel it"
        )


def check_idle(connection: Connection, scope: Scope, agent: Agent) -> None:
    """Refuse to remove a machine that may work, or has repositories; its row has to be held.

    Raises:
        StillInUse: If its key is good, or it has some; names them.
    """
    if agent.revoked_at is None:
        raise StillInUse(f"the key of '{agent.name}' is good; take it back before it is removed")
    repositories = (
        select(REPOSITORIES.c.name)
        .where(scope.of(REPOSITORIES, agent_id=agent.id, removed_at=None))
        .order_by(REPOSITORIES.c.name)
    )
    if names := _some(connection, repositories):
        listed = _listed("repository", names, "repositories")
        raise StillInUse(f"'{agent.name}' still has {listed} here; remove that first")


def _some(connection: Connection, query: Select[Any]) -> Sequence[str]:
    return connection.execute(query.limit(_MOST_NAMED + 1)).scalars().all()


def _listed(noun: str, names: Sequence[str], nouns: str = "") -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    more = " and more" if len(names) > _MOST_NAMED else ""
    return f"{noun if len(names) == 1 else nouns or noun + 's'} {shown}{more}"
