"""What an agent is given to do, for how long, and what it is asked."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.runs import Run


@frozen
class Claim:
    """A run that an agent has taken over, and everything it needs to know for it."""

    run: Run
    """Running."""
    fence: int
    """Grows with every claim of the run; whoever shows an older one is refused."""
    lease_until: datetime
    """By the store's clock; unless renewed before, others may take the run over."""
    lease_seconds: float
    job: Job | None
    """None for a restore."""
    repository: ManagedRepository


@frozen
class Hold:
    """What a run is held by: whoever shows an older fence than the last one holds nothing."""

    run_id: str
    fence: int


@frozen
class Holding:
    """A run that is held at this moment."""

    repository_id: str
    """The managed repository that it fills, or restores from."""
    left_seconds: float
    """How long it is held for if nothing renews it, by the store's clock; more than 0."""


@frozen
class Renewal:
    """A lease goes on."""

    lease_until: datetime
    is_cancel_wished: bool
    """Whether somebody wants the run to stop."""


@frozen
class Orders:
    """What an agent is told whenever it is in touch."""

    now: datetime
    """The store's clock."""
    has_work: bool
    """Whether `Work.claim` would give something at this moment."""
    has_questions: bool


class QuestionKind(StrEnum):
    """What can be asked of the agent that holds a key."""

    LIST_FOLDER = "list-folder"
    """Nodes of one folder of a snapshot: ``repository_id``, ``snapshot_id``, ``folder``."""
    SEARCH = "search"
    """Nodes whose name matches: ``repository_id``, ``snapshot_id``, ``pattern``."""
    SNAPSHOTS = "snapshots"
    """What the repository itself lists: ``repository_id``."""


@frozen
class Question:
    """Something that only an agent can answer; kept for minutes."""

    id: str
    """32 hex digits."""
    agent_id: str
    kind: QuestionKind
    details: Mapping[str, str]
    asked_at: datetime
    expires_at: datetime
    answer: "Answer | None" = None


@frozen
class Answer:
    """What an agent said."""

    error: str = ""
    """One sentence if it could not be answered."""
    nodes: tuple[Mapping[str, object], ...] = field(default=())
    """What was found, as plain data that a page shows."""
    is_cut: bool = False
    """Whether there was more than fits."""
