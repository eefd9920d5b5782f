"""Machines that run jobs for a server."""

import re
from datetime import datetime, timedelta

from attrs import field, frozen

from backapp_core.errors import InvalidName
from backapp_core.model.names import to_line

_AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_SHOWN = 80


def check_agent_name(name: str) -> str:
    """Return ``name`` if a machine may be called so.

    Raises:
        InvalidName: If it is not 1 to 64 ASCII letters, digits, dots, dashes and underscores that
            begin with a letter or digit.
    """
    if not _AGENT_NAME.fullmatch(name):
        raise InvalidName(
            f"'{to_line(name[:_LONGEST_SHOWN])}' is no name of a machine; use up to 64 letters,"
            " digits, dots, dashes and underscores, beginning with a letter or digit"
        )
    return name


def _has_agent_name(agent: object, attribute: object, name: str) -> None:
    del agent, attribute
    check_agent_name(name)


@frozen
class AgentReport:
    """What an agent says of itself whenever it is in touch."""

    instance: str
    """32 hex digits chosen when its process began: two processes with one key differ in it."""
    version: str
    hostname: str
    platform: str
    """Such as ``Linux 6.1 x86_64``."""
    roots: tuple[bytes, ...] | None = None
    """Below which folders its own policy lets it back up; None: anywhere."""
    restore_folders: tuple[bytes, ...] = ()
    """Below which folders its own policy lets it restore; empty: nowhere."""


@frozen
class Agent:
    """A machine that was enrolled."""

    id: str
    """32 hex digits."""
    name: str = field(validator=_has_agent_name)
    """Unique in its tenant."""
    enrolled_at: datetime
    report: AgentReport | None = None
    last_seen_at: datetime | None = None
    """By the store's clock."""
    revoked_at: datetime | None = None
    """When its key was taken back, for good."""
    has_left: bool = False
    """Whether its process said goodbye, and none has said hello since."""
    removed_at: datetime | None = None
    """When somebody took it off the server's lists, after its key was taken back."""

    def is_online(self, *, at: datetime, within: timedelta) -> bool:
        """Say whether it was in touch during ``within`` before ``at``, and has not left."""
        return (
            self.revoked_at is None
            and not self.has_left
            and self.last_seen_at is not None
            and at - self.last_seen_at <= within
        )


@frozen
class EnrolmentToken:
    """Lets one machine join, once."""

    id: str
    """32 hex digits."""
    agent_name: str = field(validator=_has_agent_name)
    """What the machine will be called."""
    created_by: str
    """Id of the user who made it."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
