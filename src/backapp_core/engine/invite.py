"""How people get an account: the first by a link that the server prints, others by invitation."""

from datetime import datetime, timedelta

from attrs import evolve

from backapp_core.engine.passwords import check_password, hash_password
from backapp_core.engine.tokens import hash_of, new_id, new_token
from backapp_core.errors import InvalidName, NotAllowed, TokenRefused
from backapp_core.model.names import to_line
from backapp_core.model.tenants import Tenant
from backapp_core.model.users import Invitation, Member, Role, User, check_email
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.surroundings import Surroundings
from backapp_core.settings import ServerSettings

FIRST_LINK_SECONDS = 900.0
INVITATION_SECONDS = 7 * 86400.0
DEFAULT_TENANT = "default"
_LONGEST_NAME = 100


def first_tenant(fleet: Fleet) -> Tenant:
    """Return the tenant that an installation begins with, made if need be."""
    tenants = fleet.tenants()
    return tenants[0] if tenants else fleet.add_tenant(DEFAULT_TENANT)


def first_link(fleet: Fleet, surroundings: Surroundings) -> str:
    """Return the token with which the first administrator joins; empty if somebody did."""
    if fleet.has_users():
        return ""
    now = fleet.now()
    token = new_token(surroundings)
    invitation = Invitation(
        id=new_id(surroundings),
        role=Role.ADMIN,
        created_at=now,
        expires_at=now + timedelta(seconds=FIRST_LINK_SECONDS),
    )
    fleet.tenant(first_tenant(fleet).id).users.invite(invitation, hash_of(token))
    return token


def invite(
    fleet: Fleet, surroundings: Surroundings, inviter: Member, role: Role, email: str = ""
) -> tuple[str, Invitation]:
    """Let one person make an account; return the token, which is shown once, and what is kept.

    Raises:
        InvalidName: If ``email`` is given and no address.
        NameTaken: If that address has an account.
    """
    now = fleet.now()
    token = new_token(surroundings)
    invitation = Invitation(
        id=new_id(surroundings),
        role=role,
        created_at=now,
        expires_at=now + timedelta(seconds=INVITATION_SECONDS),
        created_by=inviter.user.id,
        email=check_email(email) if email else "",
    )
    fleet.tenant(inviter.tenant_id).users.invite(invitation, hash_of(token))
    return token, invitation


def invitation_of(fleet: Fleet, token: str) -> Invitation:
    """Return the invitation behind a link if it can still be used.

    Raises:
        TokenRefused: If it is unknown, used or expired; says which.
    """
    invitation = fleet.invitation(hash_of(token))
    if invitation is None:
        raise TokenRefused("this invitation is not known here")
    if invitation.used_at is not None:
        raise TokenRefused("this invitation was used already; sign in, or ask for another")
    if invitation.expires_at <= fleet.now():
        raise TokenRefused("this invitation has expired; ask for another")
    if not invitation.created_by and fleet.has_users():
        raise TokenRefused("there is an administrator by now; ask for an invitation")
    return invitation


def join(
    fleet: Fleet, surroundings: Surroundings, token: str, *, email: str, name: str, password: str
) -> Member:
    """Make an account for whoever holds an invitation, which is used up.

    Raises:
        TokenRefused: If the invitation is unknown, used, expired or for another address.
        NameTaken: If the address has an account; the invitation can be used again.
        InputError: If name, address or password cannot be taken.
    """
    invitation = invitation_of(fleet, token)
    check_password(password, email)
    user = _new_user(surroundings, fleet.now(), email, name, invitation.role)
    return fleet.join(hash_of(token), user, hash_password(password))


def register(
    fleet: Fleet,
    surroundings: Surroundings,
    settings: ServerSettings,
    *,
    email: str,
    name: str,
    password: str,
) -> Member:
    """Make an account that may look and nothing else, where anybody may.

    Raises:
        NotAllowed: If the settings do not allow that, or nobody administers the server yet.
        NameTaken: If the address has an account.
        InputError: If name, address or password cannot be taken.
    """
    check_registration(fleet, settings)
    check_password(password, email)
    user = _new_user(surroundings, fleet.now(), email, name, Role.VIEWER)
    return fleet.register(first_tenant(fleet).id, user, hash_password(password))


def check_registration(fleet: Fleet, settings: ServerSettings) -> None:
    """Refuse whoever has no invitation, where one is needed.

    Raises:
        NotAllowed: If the settings say so, or nobody administers the server yet.
    """
    if not settings.open_registration:
        raise NotAllowed("accounts are made by invitation here; ask an administrator for one")
    if not fleet.has_users():
        raise NotAllowed("the first account is made by the link that the server printed")


def change_user(
    fleet: Fleet,
    tenant_id: int,
    user_id: str,
    *,
    name: str | None = None,
    role: Role | None = None,
    is_enabled: bool | None = None,
) -> User:
    """Change what is known of a user; None leaves it as it is. Switched off, sessions end.

    Raises:
        UserNotFound: If there is none of this id here.
        IllegalTransition: If no enabled administrator would be left.
        InvalidName: If the name cannot be taken.
    """
    users = fleet.tenant(tenant_id).users
    user = users.get(user_id)
    changed = evolve(
        user,
        name=user.name if name is None else check_person_name(name),
        role=user.role if role is None else role,
        is_enabled=user.is_enabled if is_enabled is None else is_enabled,
    )
    users.replace(changed)
    fleet.announce("people", user_id)
    return changed


def check_person_name(name: str) -> str:
    """Return what somebody is called, without blanks around it.

    Raises:
        InvalidName: If it is empty, longer than 100 characters or no printable line.
    """
    stripped = name.strip()
    if not stripped or len(stripped) > _LONGEST_NAME or not stripped.isprintable():
        raise InvalidName(
            f"'{to_line(stripped[:80])}' cannot be somebody's name; use up to {_LONGEST_NAME}"
            " printable characters"
        )
    return stripped


def _new_user(surroundings: Surroundings, at: datetime, email: str, name: str, role: Role) -> User:
    return User(
        id=new_id(surroundings),
        email=check_email(email),
        name=check_person_name(name),
        role=role,
        created_at=at,
    )
