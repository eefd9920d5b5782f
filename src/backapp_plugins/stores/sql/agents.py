"""The machines of one tenant, in tables; every method is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, final

from attrs import evolve
from sqlalchemy import Connection, and_, case, func, or_, select, tuple_
from typing_extensions import override

from backapp_core.plugin_api import AgentNotFound, NameTaken, RunState, to_line
from backapp_core.server_api import Agent, Agents, AgentStanding, EnrolmentToken
from backapp_plugins.stores.sql.agent_rows import (
    agent_from_row,
    enrolment_from_row,
    enrolment_to_row,
)
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.database import Now
from backapp_plugins.stores.sql.rows import (
    is_id,
    moment_to_column,
    run_from_row,
    run_to_row,
    seconds_to_column,
)
from backapp_plugins.stores.sql.runs import UNDER_WAY
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.still_needed import check_idle
from backapp_plugins.stores.sql.tables import AGENTS, ENROLMENTS, RUNS

_SHOWN_CHARACTERS = 64
_IN_ORDER = (AGENTS.c.name, AGENTS.c.enrolled_at, AGENTS.c.id)


@final
@again_after_collisions
class SqlAgents(Agents):
    """The machines of one tenant."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._database = scope.database

    @override
    def get(self, name: str) -> Agent:
        if not is_id(name):
            raise AgentNotFound(no_agent(name))
        # Of several that had the name, the one that has it now, or the last that had.
        query = (
            select(AGENTS)
            .where(self._scope.of(AGENTS), or_(AGENTS.c.id == name, AGENTS.c.name == name))
            .order_by(
                (AGENTS.c.id == name).desc(),
                AGENTS.c.revoked_at.is_(None).desc(),
                AGENTS.c.enrolled_at.desc(),
            )
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise AgentNotFound(no_agent(name))
        return agent_from_row(row)

    @override
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[Agent]:
        if after and not is_id(after):
            raise AgentNotFound(no_agent(after))
        there = self._scope.of(AGENTS, removed_at=None)
        query = select(AGENTS).where(there).order_by(*_IN_ORDER)
        if limit is not None:
            query = query.limit(max(limit, 0))
        with self._database.reading() as connection:
            if after:
                last = self._scope.one(connection, AGENTS, id=after)
                if last is None:
                    raise AgentNotFound(no_agent(after))
                query = query.where(
                    tuple_(*_IN_ORDER) > tuple_(last.name, last.enrolled_at, last.id)
                )
            rows = connection.execute(query).all()
        return [agent_from_row(row) for row in rows]

    @override
    def find(self, ids: Collection[str]) -> Mapping[str, Agent]:
        wanted = {one for one in ids if is_id(one)}
        if not wanted:
            return {}
        query = select(AGENTS).where(self._scope.of(AGENTS), AGENTS.c.id.in_(wanted))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {row.id: agent_from_row(row) for row in rows}

    @override
    def standing(self, *, alive_seconds: float, limit: int) -> AgentStanding:
        is_good = self._scope.of(AGENTS, revoked_at=None)
        with self._database.reading() as connection:
            now = moment_to_column(self._database.now(connection))
            since = now - seconds_to_column(alive_seconds)
            # As `Agent.is_online` has it.
            is_online = and_(AGENTS.c.last_seen_at >= since, AGENTS.c.instance != "")
            enrolled, online = connection.execute(
                select(func.count(), func.count(case((is_online, 1)))).where(is_good)
            ).one()
            is_silent = or_(AGENTS.c.last_seen_at.is_(None), ~is_online)
            query = select(AGENTS).where(is_good, is_silent).order_by(*_IN_ORDER)
            rows = connection.execute(query.limit(max(limit, 0))).all()
        return AgentStanding(enrolled, online, tuple(map(agent_from_row, rows)))

    @override
    def allow(self, token: EnrolmentToken, token_hash: str) -> None:
        row = {**enrolment_to_row(token), "token_hash": token_hash}
        with self._database.writing() as connection:
            if is_name_taken(connection, self._scope, token.agent_name):
                raise agent_name_taken(token.agent_name)
            if not self._scope.add(connection, ENROLMENTS, row):
                raise NameTaken(f"token {token.id[:8]} exists already")

    @override
    def enrolments(self) -> Sequence[EnrolmentToken]:
        query = (
            select(ENROLMENTS)
            .where(self._scope.of(ENROLMENTS, used_at=None), ENROLMENTS.c.expires_at > Now())
            .order_by(ENROLMENTS.c.created_at.desc(), ENROLMENTS.c.id.desc())
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [enrolment_from_row(row) for row in rows]

    @override
    def revoke(self, agent_id: str) -> Agent:
        with self._database.writing() as connection:
            agent = self._held(connection, agent_id)
            if agent.revoked_at is not None:
                return agent
            now = self._database.now(connection)
            revoked = {"revoked_at": moment_to_column(now), "instance": ""}
            self._scope.change(connection, AGENTS, revoked, id=agent_id)
            self._end_runs(connection, agent, now)
            self._database.announce(connection, "agents", agent_id)
        return evolve(agent, revoked_at=now)

    @override
    def remove(self, agent_id: str) -> Agent:
        with self._database.writing() as connection:
            agent = self._held(connection, agent_id)
            if agent.removed_at is not None:
                return agent
            check_idle(connection, self._scope, agent)
            now = self._database.now(connection)
            removed = {"removed_at": moment_to_column(now)}
            self._scope.change(connection, AGENTS, removed, id=agent_id)
            self._database.announce(connection, "agents", agent_id)
        return evolve(agent, removed_at=now)

    def _held(self, connection: Connection, agent_id: str) -> Agent:
        """Return a machine whose row is held until the transaction ends.

        Raises:
            AgentNotFound: If the tenant has none of this id.
        """
        row = self._scope.lock(connection, AGENTS, id=agent_id) if is_id(agent_id) else None
        if row is None:
            raise AgentNotFound(no_agent(agent_id))
        return agent_from_row(row)

    def _end_runs(self, connection: Connection, agent: Agent, now: datetime) -> None:
        query = (
            select(RUNS)
            .where(self._scope.of(RUNS, agent_id=agent.id), RUNS.c.state.in_(UNDER_WAY))
            .order_by(RUNS.c.id)
            .with_for_update(key_share=True)
        )
        for row in connection.execute(query).all():
            run = run_from_row(row)
            if run.state is RunState.REQUESTED:
                ended = run.cancel(at=now)
            else:
                ended = run.fail(at=now, error=f"the key of {agent.name} was taken back")
            changed: dict[str, Any] = {**run_to_row(ended), "lease_until": None}
            self._scope.change(connection, RUNS, changed, id=run.id)
            self._database.announce(connection, "runs", run.id)


def is_name_taken(connection: Connection, scope: Scope, name: str) -> bool:
    """Say whether a machine that was not revoked has this name."""
    wanted = scope.of(AGENTS, name=name, revoked_at=None)
    return connection.execute(select(AGENTS.c.id).where(wanted)).first() is not None


def agent_name_taken(name: str) -> NameTaken:
    """Return what says that a machine has the name."""
    return NameTaken(
        f"a machine called '{name}' is enrolled already; revoke it or take another name"
    )


def no_agent(name: str) -> str:
    """Return the sentence that there is no such machine."""
    return f"there is no machine '{to_line(name[:_SHOWN_CHARACTERS])}'"
