"""A repository whose machine is lost becomes another machine's, with the jobs that fill it."""

from attrs import evolve
from sqlalchemy import Connection, select

from backapp_core.plugin_api import AgentNotFound, NameTaken, StillInUse, to_line
from backapp_core.server_api import ManagedRepository
from backapp_plugins.stores.sql.agents import no_agent
from backapp_plugins.stores.sql.database import Now
from backapp_plugins.stores.sql.held_repositories import locked_repository
from backapp_plugins.stores.sql.repository_rows import repository_from_row, repository_to_row
from backapp_plugins.stores.sql.rows import (
    is_id,
    job_from_body,
    job_to_row,
    moment_from_column,
)
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import AGENTS, JOBS, REPOSITORIES


def give(
    connection: Connection, scope: Scope, repository_id: str, agent_id: str
) -> ManagedRepository:
    """As `Repositories.hand_over`, within a transaction.

    Raises:
        RepositoryNotFound: If there is none of this id, or it was removed.
        AgentNotFound: If the other machine is none of this tenant's, or revoked.
        StillInUse: If the key of the machine that has it is good.
        NameTaken: If another repository of that machine's stands in the same folder.
    """
    # Held, so that it is not revoked meanwhile.
    agent = scope.lock(connection, AGENTS, id=agent_id) if is_id(agent_id) else None
    if agent is None or agent.revoked_at is not None:
        raise AgentNotFound(no_agent(agent_id))
    row = locked_repository(connection, scope, repository_id)
    repository = repository_from_row(row)
    former = scope.one(connection, AGENTS, id=repository.agent_id)
    if former.revoked_at is None:
        raise StillInUse(
            f"repository '{repository.name}' is that of '{former.name}', whose key is good;"
            " take it back first"
        )
    given = evolve(repository, agent_id=agent.id)
    changed = repository_to_row(given, scope.tenant_id)
    place = {"place_hash": changed["place_hash"], "removed_at": None}
    there = scope.one(connection, REPOSITORIES, **place)
    if there is not None and there.id != row.id:
        raise NameTaken(f"'{agent.name}' has a repository at {to_line(repository.address)} already")
    scope.change(connection, REPOSITORIES, changed, id=row.id)
    _give_jobs(connection, scope, given)
    return given


def _give_jobs(connection: Connection, scope: Scope, repository: ManagedRepository) -> None:
    now = moment_from_column(connection.execute(select(Now())).scalar_one())
    query = (
        select(JOBS)
        .where(scope.of(JOBS, repository_id=repository.id))
        .order_by(JOBS.c.name)
        .with_for_update(key_share=True)
    )
    for row in connection.execute(query).all():
        job = evolve(job_from_body(row.body), agent_id=repository.agent_id, due_after=now)
        scope.change(connection, JOBS, job_to_row(job), name=job.name)
