"""Who is who, before it is known to whom somebody belongs: by address, token, session or key."""

from typing import Any, final

from attrs import evolve
from sqlalchemy import Connection, Table, delete, func, insert, or_, select, update

from backapp_core.plugin_api import InvalidName, NameTaken, TokenRefused
from backapp_core.server_api import (
    ApiToken,
    Invitation,
    Login,
    Member,
    Session,
    User,
    check_email,
)
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.database import Database, Now
from backapp_plugins.stores.sql.rows import hash_of, moment_to_column, seconds_to_column
from backapp_plugins.stores.sql.scopes import add_row
from backapp_plugins.stores.sql.tables import (
    API_TOKENS,
    FAILURES,
    INVITATIONS,
    SESSIONS,
    USERS,
)
from backapp_plugins.stores.sql.user_rows import (
    api_token_from_row,
    invitation_from_row,
    session_from_row,
    session_to_row,
    user_from_row,
    user_to_row,
)
from backapp_plugins.stores.sql.users import email_taken, has_account

_NOTE_SECONDS = 60.0
_LONGEST_WINDOW_SECONDS = 86_400.0


@final
@again_after_collisions
class Accounts:
    """The part of `Fleet` that lets people in; its methods are described there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def has_users(self) -> bool:
        """As `Fleet.has_users`."""
        with self._database.reading() as connection:
            return connection.execute(select(USERS.c.id).limit(1)).first() is not None

    def login(self, email: str) -> Login | None:
        """As `Fleet.login`."""
        try:
            address = check_email(email)
        except InvalidName:
            return None
        query = select(USERS).where(USERS.c.email == address, USERS.c.is_enabled)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Login(_member(row), row.password_hash)

    def join(self, token_hash: str, user: User, password_hash: str) -> Member:
        """As `Fleet.join`.

        Raises:
            TokenRefused: As there.
        """
        with self._database.writing() as connection:
            row = locked_token(connection, INVITATIONS, token_hash)
            check_token(connection, self._database, row, "invitation")
            invitation = invitation_from_row(row)
            if invitation.email and check_email(invitation.email) != check_email(user.email):
                raise TokenRefused(f"this invitation is for {invitation.email} only")
            joining = evolve(user, role=invitation.role, email=check_email(user.email))
            _add_user(connection, row.tenant_id, joining, password_hash)
            connection.execute(
                update(INVITATIONS)
                .where(INVITATIONS.c.tenant_id == row.tenant_id, INVITATIONS.c.id == row.id)
                .values(used_at=Now())
            )
        return Member(joining, row.tenant_id)

    def register(self, tenant_id: int, user: User, password_hash: str) -> Member:
        """As `Fleet.register`."""
        joining = evolve(user, email=check_email(user.email))
        with self._database.writing() as connection:
            _add_user(connection, tenant_id, joining, password_hash)
        return Member(joining, tenant_id)

    def invitation(self, token_hash: str) -> Invitation | None:
        """As `Fleet.invitation`."""
        query = select(INVITATIONS).where(INVITATIONS.c.token_hash == token_hash)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else invitation_from_row(row)

    def open_session(self, token_hash: str, session: Session) -> None:
        """As `Fleet.open_session`."""
        row = {**session_to_row(session), "token_hash": token_hash}
        with self._database.writing() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= Now()))
            connection.execute(insert(SESSIONS).values(**row))

    def session(self, token_hash: str, *, idle_seconds: float) -> tuple[Session, User] | None:
        """As `Fleet.session`."""
        used_after = Now() - seconds_to_column(idle_seconds)
        query = select(SESSIONS).where(
            SESSIONS.c.token_hash == token_hash,
            SESSIONS.c.expires_at > Now(),
            SESSIONS.c.last_used_at > used_after,
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
            user = None if row is None else _enabled_user(connection, row)
        if row is None or user is None:
            return None
        # Often enough for a short time of idleness, too.
        self._note_use(SESSIONS, row, at_most_every_seconds=idle_seconds / 4)
        return session_from_row(row), user_from_row(user)

    def close_session(self, token_hash: str) -> None:
        """As `Fleet.close_session`."""
        with self._database.writing() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.token_hash == token_hash))

    def api_token(self, token_hash: str) -> tuple[ApiToken, Member] | None:
        """As `Fleet.api_token`."""
        query = select(API_TOKENS).where(
            API_TOKENS.c.token_hash == token_hash,
            or_(API_TOKENS.c.expires_at.is_(None), API_TOKENS.c.expires_at > Now()),
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
            user = None if row is None else _enabled_user(connection, row)
        if row is None or user is None:
            return None
        self._note_use(API_TOKENS, row)
        return api_token_from_row(row), Member(user_from_row(user), row.tenant_id)

    def note_failure(self, key: str, *, window_seconds: float) -> int:
        """As `Fleet.note_failure`."""
        key_hash = hash_of(key)
        keep_seconds = max(window_seconds, _LONGEST_WINDOW_SECONDS)
        with self._database.writing() as connection:
            # No statement counts what another transaction is about to commit, so that of two at
            # once both would count one.
            self._database.take_turns(connection, key_hash)
            connection.execute(
                delete(FAILURES).where(
                    FAILURES.c.failed_at < Now() - seconds_to_column(keep_seconds)
                )
            )
            connection.execute(insert(FAILURES).values(key_hash=key_hash, failed_at=Now()))
            return _count_failures(connection, key, window_seconds)

    def failures(self, key: str, *, window_seconds: float) -> int:
        """As `Fleet.failures`."""
        with self._database.reading() as connection:
            return _count_failures(connection, key, window_seconds)

    def forget_failures(self, key: str) -> None:
        """As `Fleet.forget_failures`."""
        with self._database.writing() as connection:
            connection.execute(delete(FAILURES).where(FAILURES.c.key_hash == hash_of(key)))

    def _note_use(
        self, table: Table, row: Any, *, at_most_every_seconds: float = _NOTE_SECONDS
    ) -> None:
        """Note that a token was used, unless that was noted a moment ago: reading is no writing."""
        every = seconds_to_column(min(at_most_every_seconds, _NOTE_SECONDS))
        is_old = or_(table.c.last_used_at.is_(None), table.c.last_used_at < Now() - every)
        wanted = (table.c.tenant_id == row.tenant_id, table.c.token_hash == row.token_hash, is_old)
        with self._database.reading() as connection:
            is_noted = connection.execute(select(table.c.token_hash).where(*wanted)).first() is None
        if not is_noted:
            with self._database.writing() as connection:
                connection.execute(update(table).where(*wanted).values(last_used_at=Now()))


def locked_token(connection: Connection, table: Table, token_hash: str) -> Any:
    """Return the row of a token, held until the transaction ends; None if there is none."""
    query = select(table).where(table.c.token_hash == token_hash).with_for_update()
    return connection.execute(query).one_or_none()


def check_token(connection: Connection, database: Database, row: Any, noun: str) -> None:
    """Refuse a token that cannot be used up.

    Raises:
        TokenRefused: If it is unknown (no row), used or expired; says which.
    """
    if row is None:
        raise TokenRefused(f"this {noun} is unknown; ask for another")
    if row.used_at is not None:
        raise TokenRefused(f"this {noun} was used already; ask for another")
    if row.expires_at <= moment_to_column(database.now(connection)):
        raise TokenRefused(f"this {noun} has expired; ask for another")


def _add_user(connection: Connection, tenant_id: int, user: User, password_hash: str) -> None:
    row = {**user_to_row(user), "tenant_id": tenant_id, "password_hash": password_hash}
    if not add_row(connection, USERS, row):
        if has_account(connection, email=user.email):
            raise email_taken(user.email)
        raise NameTaken(f"user {user.id[:8]} cannot be added to tenant {tenant_id}")


def _enabled_user(connection: Connection, row: Any) -> Any:
    query = select(USERS).where(
        USERS.c.tenant_id == row.tenant_id, USERS.c.id == row.user_id, USERS.c.is_enabled
    )
    return connection.execute(query).one_or_none()


def _member(row: Any) -> Member:
    return Member(user_from_row(row), row.tenant_id)


def _count_failures(connection: Connection, key: str, window_seconds: float) -> int:
    query = (
        select(func.count())
        .select_from(FAILURES)
        .where(
            FAILURES.c.key_hash == hash_of(key),
            FAILURES.c.failed_at > Now() - seconds_to_column(window_seconds),
        )
    )
    return connection.execute(query).scalar_one()
