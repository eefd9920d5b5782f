"""What a server remembers, in tables; every method is one transaction."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import final

from sqlalchemy import func, select
from typing_extensions import override

from backapp_core.plugin_api import InvalidName, NameTaken, StoreUnavailable, to_line
from backapp_core.server_api import (
    Announced,
    ApiToken,
    Fleet,
    Invitation,
    KnownAgent,
    Login,
    Member,
    Session,
    Tenant,
    TenantStore,
    User,
)
from backapp_plugins.stores.sql.accounts import Accounts
from backapp_plugins.stores.sql.database import Database
from backapp_plugins.stores.sql.enrolment import Enrolment
from backapp_plugins.stores.sql.scopes import Scope, add_row
from backapp_plugins.stores.sql.tables import DEFAULT_TENANT, TENANTS
from backapp_plugins.stores.sql.tenant import SqlTenantStore

_LONGEST_NAME = 64


@final
class SqlFleet(Fleet):
    """All tenants of one database; made by `open.open_fleet`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accounts = Accounts(database)
        self._enrolment = Enrolment(database)
        # Tenants stay what they are, so each is asked for once.
        self._known: dict[int, SqlTenantStore] = {}
        self.is_shared = database.is_shared

    @override
    def now(self) -> datetime:
        with self._database.reading() as connection:
            return self._database.now(connection)

    @override
    def tenants(self) -> Sequence[Tenant]:
        with self._database.reading() as connection:
            rows = connection.execute(select(TENANTS).order_by(TENANTS.c.id)).all()
        return [Tenant(row.id, row.name) for row in rows]

    @override
    def add_tenant(self, name: str) -> Tenant:
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InvalidName(
                f"'{to_line(name[:_LONGEST_NAME])}' is no name of a tenant; use up to"
                f" {_LONGEST_NAME} printable characters"
            )
        with self._database.writing() as connection:
            # One at a time, since the number follows from those that are there.
            first = select(TENANTS.c.id).where(TENANTS.c.id == DEFAULT_TENANT)
            connection.execute(first.with_for_update(key_share=True))
            last = connection.execute(select(func.max(TENANTS.c.id))).scalar_one()
            tenant = Tenant(last + 1, name)
            if not add_row(connection, TENANTS, {"id": tenant.id, "name": name}):
                raise NameTaken(f"a tenant called '{name}' exists already")
        return tenant

    @override
    def tenant(self, tenant_id: int) -> TenantStore:
        if tenant_id not in self._known:
            self._known = {tenant.id: self._store_of(tenant) for tenant in self.tenants()}
        if tenant_id not in self._known:
            raise StoreUnavailable(f"the store {self._database.shown} knows no tenant {tenant_id}")
        return self._known[tenant_id]

    def _store_of(self, tenant: Tenant) -> SqlTenantStore:
        known = self._known.get(tenant.id)
        return known or SqlTenantStore(Scope(self._database, tenant.id), tenant)

    # --- who is who

    @override
    def has_users(self) -> bool:
        return self._accounts.has_users()

    @override
    def login(self, email: str) -> Login | None:
        return self._accounts.login(email)

    @override
    def join(self, token_hash: str, user: User, password_hash: str) -> Member:
        return self._accounts.join(token_hash, user, password_hash)

    @override
    def register(self, tenant_id: int, user: User, password_hash: str) -> Member:
        return self._accounts.register(tenant_id, user, password_hash)

    @override
    def invitation(self, token_hash: str) -> Invitation | None:
        return self._accounts.invitation(token_hash)

    @override
    def open_session(self, token_hash: str, session: Session) -> None:
        self._accounts.open_session(token_hash, session)

    @override
    def session(self, token_hash: str, *, idle_seconds: float) -> tuple[Session, User] | None:
        return self._accounts.session(token_hash, idle_seconds=idle_seconds)

    @override
    def close_session(self, token_hash: str) -> None:
        self._accounts.close_session(token_hash)

    @override
    def api_token(self, token_hash: str) -> tuple[ApiToken, Member] | None:
        return self._accounts.api_token(token_hash)

    @override
    def note_failure(self, key: str, *, window_seconds: float) -> int:
        return self._accounts.note_failure(key, window_seconds=window_seconds)

    @override
    def failures(self, key: str, *, window_seconds: float) -> int:
        return self._accounts.failures(key, window_seconds=window_seconds)

    @override
    def forget_failures(self, key: str) -> None:
        self._accounts.forget_failures(key)

    # --- machines

    @override
    def enrol(self, token_hash: str, agent_id: str, key_hash: str) -> KnownAgent:
        return self._enrolment.enrol(token_hash, agent_id, key_hash)

    @override
    def recognise(self, key_hash: str) -> KnownAgent | None:
        return self._enrolment.recognise(key_hash)

    # --- between servers

    @override
    def announce(self, topic: str, subject_id: str) -> None:
        # Without any promise: whoever announces goes on in any case.
        with suppress(StoreUnavailable), self._database.writing() as connection:
            self._database.announce(connection, topic, subject_id)

    @override
    def listen(self, announced: Announced) -> AbstractContextManager[None]:
        return self._database.listen(announced)

    @override
    def hold_alone(self) -> AbstractContextManager[None]:
        return self._database.hold_alone()

    @override
    def close(self) -> None:
        self._database.close()
