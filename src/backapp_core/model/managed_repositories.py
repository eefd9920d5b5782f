"""Repositories that a server manages: one machine's, in the owner's bucket or on that machine."""

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from backapp_core.model.enforcements import Enforcement
from backapp_core.model.jobs import check_job_name
from backapp_core.model.repositories import DEFAULT_ARCHIVER

SCHEME = "backapp"
"""Of addresses that stand for a managed repository: ``backapp:`` and its id."""


class Custody(StrEnum):
    """Who keeps the password of a repository."""

    AGENT = "agent"
    """The machine; the server never sees it."""


def _has_name(repository: object, attribute: object, name: str) -> None:
    del repository, attribute
    check_job_name(name)  # the same letters


@frozen
class ManagedRepository:
    """A repository that an agent fills."""

    id: str
    """32 hex digits."""
    name: str = field(validator=_has_name)
    """Unique in its tenant, among those that were not removed."""
    agent_id: str
    """The machine that fills it and holds its key."""
    address: str
    """Where it stands: below one of the server's buckets, or a folder on the agent's machine.

    Without secrets.
    """
    is_local: bool
    """Whether `address` is a folder on the agent's machine, which the agent opens by itself."""
    created_at: datetime
    archiver: str = DEFAULT_ARCHIVER
    custody: Custody = Custody.AGENT
    enforces: Enforcement | None = None
    """What the bucket makes sure of by itself; None for a folder."""
    repository_id: str = ""
    """What it calls itself, once the agent has created it."""
    initialised_at: datetime | None = None
    sheet_confirmed_at: datetime | None = None
    """When somebody said that the recovery sheet is kept in a safe place."""
    removed_at: datetime | None = None
    """When somebody took it off the server's lists; what stands at `address` is as it was."""

    @property
    def is_protected(self) -> bool:
        """Whether its content can be had back although the machine is lost."""
        return self.sheet_confirmed_at is not None
