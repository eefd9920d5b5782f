"""Rows of people and their tokens to model values and back."""

from typing import Any

from attrs import evolve

from backapp_core.server_api import ApiToken, Invitation, Role, Session, User, check_email
from backapp_plugins.stores.sql.rows import (
    check_id,
    from_body,
    moment_from_column,
    moment_to_column,
    optional_moment_from_column,
    optional_moment_to_column,
    to_body,
)


def user_to_row(user: User) -> dict[str, Any]:
    """Return the columns of a user, without its password.

    Raises:
        InvalidName: If the id or the address cannot be kept.
    """
    return {
        "id": check_id(user.id, "user"),
        "email": check_email(user.email),
        "role": user.role.value,
        "is_enabled": user.is_enabled,
        "body": to_body(evolve(user, email=check_email(user.email))),
    }


def user_from_row(row: Any) -> User:
    """Return the user that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    user = from_body(row.body, User, "user")
    return evolve(user, email=row.email, role=Role(row.role), is_enabled=row.is_enabled)


def session_to_row(session: Session) -> dict[str, Any]:
    """Return the columns of a session, without its token."""
    return {
        "tenant_id": session.tenant_id,
        "user_id": check_id(session.user_id, "user"),
        "created_at": moment_to_column(session.created_at),
        "last_used_at": moment_to_column(session.last_used_at),
        "expires_at": moment_to_column(session.expires_at),
    }


def session_from_row(row: Any) -> Session:
    """Return the session that a row holds."""
    return Session(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        created_at=moment_from_column(row.created_at),
        last_used_at=moment_from_column(row.last_used_at),
        expires_at=moment_from_column(row.expires_at),
    )


def api_token_to_row(token: ApiToken) -> dict[str, Any]:
    """Return the columns of a token, without its hash."""
    return {
        "id": check_id(token.id, "token"),
        "user_id": token.user_id,
        "created_at": moment_to_column(token.created_at),
        "expires_at": optional_moment_to_column(token.expires_at),
        "last_used_at": optional_moment_to_column(token.last_used_at),
        "body": to_body(token),
    }


def api_token_from_row(row: Any) -> ApiToken:
    """Return the token that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    token = from_body(row.body, ApiToken, "token")
    return evolve(token, last_used_at=optional_moment_from_column(row.last_used_at))


def invitation_to_row(invitation: Invitation) -> dict[str, Any]:
    """Return the columns of an invitation, without its token."""
    return {
        "id": check_id(invitation.id, "invitation"),
        "created_at": moment_to_column(invitation.created_at),
        "expires_at": moment_to_column(invitation.expires_at),
        "used_at": optional_moment_to_column(invitation.used_at),
        "body": to_body(invitation),
    }


def invitation_from_row(row: Any) -> Invitation:
    """Return the invitation that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    invitation = from_body(row.body, Invitation, "invitation")
    return evolve(invitation, used_at=optional_moment_from_column(row.used_at))
