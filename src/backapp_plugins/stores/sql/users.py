"""The people of one tenant, in tables; every method is one transaction."""

from collections.abc import Sequence
from typing import final

from sqlalchemy import ColumnElement, Connection, delete, func, select
from typing_extensions import override

from backapp_core.plugin_api import IllegalTransition, NameTaken, UserNotFound, to_line
from backapp_core.server_api import ApiToken, Invitation, Role, User, Users
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.database import Now
from backapp_plugins.stores.sql.rows import is_id
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import API_TOKENS, INVITATIONS, SESSIONS, TENANTS, USERS
from backapp_plugins.stores.sql.user_rows import (
    api_token_from_row,
    api_token_to_row,
    invitation_from_row,
    invitation_to_row,
    user_from_row,
    user_to_row,
)

_SHOWN_CHARACTERS = 64


@final
@again_after_collisions
class SqlUsers(Users):
    """The people of one tenant."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._database = scope.database

    @override
    def get(self, user_id: str) -> User:
        with self._database.reading() as connection:
            row = self._scope.one(connection, USERS, id=_checked(user_id))
        if row is None:
            raise _nobody(user_id)
        return user_from_row(row)

    @override
    def list(self) -> Sequence[User]:
        query = select(USERS).where(self._scope.of(USERS)).order_by(USERS.c.email)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [user_from_row(row) for row in rows]

    @override
    def replace(self, user: User) -> None:
        _checked(user.id)
        row = user_to_row(user)
        with self._database.writing() as connection:
            # One change of roles at a time: of two administrators that switch each other off, one
            # has to stay.
            self._hold_tenant(connection)
            if self._scope.one(connection, USERS, id=user.id) is None:
                raise _nobody(user.id)
            if has_account(connection, USERS.c.id != user.id, email=row["email"]):
                raise email_taken(user.email)
            self._scope.change(connection, USERS, row, id=user.id)
            if not self._has_administrator(connection):
                raise IllegalTransition(
                    "nobody would be left who may administer; make somebody else administrator"
                    " first"
                )
            if not user.is_enabled:
                self._scope.remove(connection, SESSIONS, user_id=user.id)

    @override
    def set_password(self, user_id: str, password_hash: str, *, keep_session: str = "") -> None:
        _checked(user_id)
        with self._database.writing() as connection:
            row = {"password_hash": password_hash}
            if not self._scope.change(connection, USERS, row, id=user_id):
                raise _nobody(user_id)
            connection.execute(
                delete(SESSIONS).where(
                    self._scope.of(SESSIONS, user_id=user_id),
                    SESSIONS.c.token_hash != keep_session,
                )
            )

    @override
    def invite(self, invitation: Invitation, token_hash: str) -> None:
        row = {**invitation_to_row(invitation), "token_hash": token_hash}
        with self._database.writing() as connection:
            email = invitation.email
            if email and has_account(connection, email=email.strip().lower()):
                raise email_taken(email)
            if not self._scope.add(connection, INVITATIONS, row):
                raise NameTaken(f"invitation {invitation.id[:8]} exists already")

    @override
    def invitations(self) -> Sequence[Invitation]:
        query = (
            select(INVITATIONS)
            .where(self._scope.of(INVITATIONS, used_at=None), INVITATIONS.c.expires_at > Now())
            .order_by(INVITATIONS.c.created_at.desc(), INVITATIONS.c.id.desc())
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [invitation_from_row(row) for row in rows]

    @override
    def add_api_token(self, token: ApiToken, token_hash: str) -> None:
        _checked(token.user_id)
        row = {**api_token_to_row(token), "token_hash": token_hash}
        with self._database.writing() as connection:
            if self._scope.lock(connection, USERS, id=token.user_id) is None:
                raise _nobody(token.user_id)
            if not self._scope.add(connection, API_TOKENS, row):
                raise NameTaken(f"token {token.id[:8]} exists already")

    @override
    def api_tokens(self, user_id: str) -> Sequence[ApiToken]:
        if not is_id(user_id):
            return []
        query = (
            select(API_TOKENS)
            .where(self._scope.of(API_TOKENS, user_id=user_id))
            .order_by(API_TOKENS.c.created_at.desc(), API_TOKENS.c.id.desc())
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [api_token_from_row(row) for row in rows]

    @override
    def remove_api_token(self, user_id: str, token_id: str) -> None:
        if not is_id(user_id) or not is_id(token_id):
            return
        with self._database.writing() as connection:
            self._scope.remove(connection, API_TOKENS, user_id=user_id, id=token_id)

    def _has_administrator(self, connection: Connection) -> bool:
        wanted = self._scope.of(USERS, role=Role.ADMIN.value, is_enabled=True)
        return connection.execute(select(USERS.c.id).where(wanted).limit(1)).first() is not None

    def _hold_tenant(self, connection: Connection) -> None:
        connection.execute(
            select(TENANTS.c.id)
            .where(TENANTS.c.id == self._scope.tenant_id)
            .with_for_update(key_share=True)
        )


def has_account(connection: Connection, *but: ColumnElement[bool], email: str) -> bool:
    """Say whether an address has an account, in any tenant: addresses are unique in all."""
    query = select(func.count()).select_from(USERS).where(USERS.c.email == email, *but)
    return connection.execute(query).scalar_one() > 0


def email_taken(email: str) -> NameTaken:
    """Return what says that somebody has the address."""
    return NameTaken(f"{to_line(email)} has an account already")


def _checked(user_id: str) -> str:
    if not is_id(user_id):
        raise _nobody(user_id)
    return user_id


def _nobody(user_id: str) -> UserNotFound:
    return UserNotFound(f"there is no user '{to_line(user_id[:_SHOWN_CHARACTERS])}'")
