"""Machines join with a token and are known by their key."""

from typing import Any, final

from sqlalchemy import Connection, select, update

from backapp_core.plugin_api import NameTaken
from backapp_core.server_api import KnownAgent
from backapp_plugins.stores.sql.accounts import check_token, locked_token
from backapp_plugins.stores.sql.agent_rows import agent_from_row, enrolment_from_row
from backapp_plugins.stores.sql.agents import agent_name_taken, is_name_taken
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.database import Database, Now
from backapp_plugins.stores.sql.rows import check_id
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import AGENTS, ENROLMENTS


@final
@again_after_collisions
class Enrolment:
    """The part of `Fleet` that knows machines; its methods are described there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enrol(self, token_hash: str, agent_id: str, key_hash: str) -> KnownAgent:
        """As `Fleet.enrol`.

        Raises:
            InvalidName: If the machine chose an id that cannot be kept.
        """
        check_id(agent_id, "machine")
        with self._database.writing() as connection:
            token = locked_token(connection, ENROLMENTS, token_hash)
            if token is not None and token.used_at is not None and token.agent_id == agent_id:
                known = _known(connection, key_hash)
                if known is not None and _is(known, token.tenant_id, agent_id):
                    return known
            check_token(connection, self._database, token, "enrolment token")
            known = self._add(connection, token, agent_id, key_hash)
            self._database.announce(connection, "agents", agent_id)
        return known

    def recognise(self, key_hash: str) -> KnownAgent | None:
        """As `Fleet.recognise`."""
        with self._database.reading() as connection:
            return _known(connection, key_hash)

    def _add(self, connection: Connection, token: Any, agent_id: str, key_hash: str) -> KnownAgent:
        name = enrolment_from_row(token).agent_name
        scope = Scope(self._database, token.tenant_id)
        row = {"id": agent_id, "name": name, "key_hash": key_hash, "enrolled_at": Now()}
        if not scope.add(connection, AGENTS, row):
            if is_name_taken(connection, scope, name):
                raise agent_name_taken(name)
            raise NameTaken("a machine with this id or key is enrolled already; make new ones")
        connection.execute(
            update(ENROLMENTS)
            .where(scope.of(ENROLMENTS, id=token.id))
            .values(used_at=Now(), agent_id=agent_id)
        )
        return KnownAgent(
            agent_from_row(scope.one(connection, AGENTS, id=agent_id)), scope.tenant_id
        )


def _known(connection: Connection, key_hash: str) -> KnownAgent | None:
    row = connection.execute(select(AGENTS).where(AGENTS.c.key_hash == key_hash)).one_or_none()
    return None if row is None else KnownAgent(agent_from_row(row), row.tenant_id)


def _is(known: KnownAgent, tenant_id: int, agent_id: str) -> bool:
    return known.tenant_id == tenant_id and known.agent.id == agent_id
