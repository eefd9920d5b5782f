"""People, what they may do, and the tokens that let them in."""

import re
from datetime import datetime
from enum import StrEnum

from attrs import frozen

from backapp_core.errors import InvalidName
from backapp_core.model.names import to_line

_EMAIL = re.compile(r"[^\s@<>\"\\]{1,64}@[^\s@<>\"\\.]+(\.[^\s@<>\"\\.]+)*")
_LONGEST_EMAIL = 254


class Action(StrEnum):
    """What somebody may want to do; every door asks for one of these."""

    SEE = "see"
    """Look at machines, jobs, runs and the list of snapshots."""
    RUN = "run"
    """Start and cancel runs."""
    RESTORE = "restore"
    """Browse contents and restore them to a machine."""
    CONFIGURE = "configure"
    """Make, change and remove jobs, repositories and machines."""
    ADMINISTER = "administer"
    """Invite people, change their roles, see what everybody did."""


class Role(StrEnum):
    """What somebody is in a tenant."""

    ADMIN = "admin"
    OPERATOR = "operator"
    """Everything but people, and nothing that changes what is backed up whereto."""
    VIEWER = "viewer"

    def may(self, action: Action) -> bool:
        """Say whether this role includes ``action``."""
        return action in _MAY[self]


_MAY = {
    Role.ADMIN: frozenset(Action),
    Role.OPERATOR: frozenset({Action.SEE, Action.RUN, Action.RESTORE}),
    Role.VIEWER: frozenset({Action.SEE}),
}


def check_email(text: str) -> str:
    """Return an address as it is compared and kept: without blanks around it, in lower case.

    Raises:
        InvalidName: If it has not the shape of one.
    """
    address = text.strip().lower()
    if len(address) > _LONGEST_EMAIL or not _EMAIL.fullmatch(address):
        raise InvalidName(
            f"'{to_line(text[:80])}' is no e-mail address; write it like name@example.org"
        )
    return address


@frozen
class User:
    """Somebody who may sign in; belongs to one tenant."""

    id: str
    """32 hex digits."""
    email: str
    """Unique in the installation, see `check_email`."""
    name: str
    role: Role
    created_at: datetime
    is_enabled: bool = True


@frozen
class Member:
    """A user together with the tenant that it belongs to."""

    user: User
    tenant_id: int


@frozen
class Session:
    """Somebody is signed in at one browser; the browser holds the token, the store its hash."""

    user_id: str
    tenant_id: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@frozen
class ApiToken:
    """Lets a program act for a user; shown once, the store keeps its hash."""

    id: str
    """32 hex digits."""
    user_id: str
    name: str
    """What it is for, in the user's words."""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@frozen
class Invitation:
    """Lets one person make an account, once."""

    id: str
    """32 hex digits."""
    role: Role
    created_at: datetime
    expires_at: datetime
    created_by: str = ""
    """Id of the user who made it; empty for the link to the first administrator."""
    email: str = ""
    """Only for this address; empty for whoever holds it."""
    used_at: datetime | None = None
