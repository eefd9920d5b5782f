"""The HTTP conversation of agent and server: paths and bodies; both ends speak from this module.

Bodies are JSON as `codec` writes it. Errors come as ``application/problem+json`` whose ``type``
ends in the name of the error's class, see `problem_type`. The agent's key stands in the header
``Authorization: Bearer``.
"""

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from backapp_core.events import Progress
from backapp_core.model.agents import AgentReport
from backapp_core.model.grants import ObjectSeen, WriteWish
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.work import Answer, Hold

API = "/api/v1"
ENROL = f"{API}/enrol"
AGENT = f"{API}/agent"
"""Below this every path needs an agent's key."""
SOCKET = f"{AGENT}/socket"
"""WebSocket: the server sends `Wake` messages; the agent sends nothing."""
RUNS = f"{AGENT}/runs"
REPOSITORIES = f"{AGENT}/repositories"
"""``GET`` is answered by a list of `ManagedRepository`, ``GET REPOSITORIES/ID`` by one.

``POST REPOSITORIES/ID/sheet`` without a body says that the recovery sheet is kept; answered by
`ManagedRepository`. ``GET REPOSITORIES/ID/objects?prefix=P&after=A`` is answered by `ObjectPage`.
"""
QUESTIONS = f"{AGENT}/questions"
"""``POST QUESTIONS/next`` without a body is answered by `Question`, or nothing (204)."""

AGENT_KEY_PREFIX = "backapp_agent_"
API_TOKEN_PREFIX = "backapp_token_"  # noqa: S105  # what tokens begin with, so that scanners of secrets find them
ENROLMENT_PREFIX = "backapp_enrol_"

MOST_BODY_BYTES = 4 * 1024 * 1024
"""No body and no message is larger."""
MOST_SEEN = 2000
"""How many objects an agent has seen with one request; where their content is read back, that is
some 32 GB, which have to be read within the request."""
MOST_WISHES = 500
"""How many objects one request may ask grants for."""


@frozen
class EnrolBody:
    """``POST ENROL``; answered by `Enrolled`.

    The machine chooses id and key, so that a lost answer can be asked for again.
    """

    token: str
    agent_id: str
    """32 hex digits."""
    key: str


@frozen
class Enrolled:
    """The machine is known from now on."""

    agent_id: str
    name: str
    tenant: str


@frozen
class HelloBody:
    """``POST AGENT/hello``; answered by `Orders`."""

    report: AgentReport
    alive_seconds: float


@frozen
class InstanceBody:
    """``POST AGENT/goodbye``; answered by nothing."""

    instance: str


@frozen
class ClaimBody:
    """``POST AGENT/claim``; answered by `Claim`, or nothing (204)."""

    instance: str
    lease_seconds: float


@frozen
class RenewBody:
    """``POST AGENT/runs/ID/renew``; answered by `Renewal`."""

    fence: int
    lease_seconds: float


@frozen
class ReportBody:
    """``POST AGENT/runs/ID/report``; answered by nothing."""

    fence: int
    events: tuple[tuple[datetime, Mapping[str, object]], ...] = ()
    """Moment and event, as `event_to_plain` writes it."""
    progress: Progress | None = None


@frozen
class FenceBody:
    """``POST AGENT/runs/ID/hand-back``; answered by nothing."""

    fence: int


@frozen
class FinishBody:
    """``POST AGENT/runs/ID/finish``; answered by nothing."""

    fence: int
    ended: Run


@frozen
class SeeBody:
    """``POST AGENT/runs/ID/see``; answered by nothing."""

    fence: int
    snapshot_id: str
    objects: tuple[ObjectSeen, ...]
    after: str = ""
    """The last name of the part before; empty for the first."""


@frozen
class AcknowledgeBody:
    """``POST AGENT/runs/ID/acknowledge``; answered by `Receipt`."""

    fence: int
    snapshot: Snapshot
    objects: tuple[ObjectSeen, ...]
    after: str = ""
    """As in `SeeBody`; empty if these are all."""


@frozen
class CreatedBody:
    """``POST AGENT/repositories/ID/created``; answered by `ManagedRepository`."""

    own_id: str


@frozen
class AnswerBody:
    """``POST AGENT/questions/ID``; answered by nothing."""

    answer: Answer


@frozen
class NamesBody:
    """``POST AGENT/repositories/ID/grants/reads``; answered by `Granted`."""

    names: tuple[str, ...]


@frozen
class DeletesBody:
    """``POST AGENT/repositories/ID/grants/deletes``; answered by `Granted`."""

    names: tuple[str, ...]
    hold: Hold | None
    """The run that it is for; null for a lock that is held to look into a repository."""


@frozen
class WritesBody:
    """``POST AGENT/repositories/ID/grants/writes``; answered by `Granted`."""

    wishes: tuple[WriteWish, ...]
    hold: Hold | None
    """As in `DeletesBody`."""


@frozen
class UploadBody:
    """``POST AGENT/repositories/ID/uploads``: begin one; answered by `Upload`."""

    name: str
    hold: Hold | None
    """The run that it is for; nothing is sent in parts outside of runs."""


@frozen
class Upload:
    """What the parts of an object that is sent in parts refer to."""

    upload: str


@frozen
class PartsBody:
    """``POST AGENT/repositories/ID/uploads/parts``; answered by `Granted`."""

    name: str
    upload: str
    parts: tuple[WriteWish, ...]
    first: int
    hold: Hold | None
    """As in `UploadBody`."""


@frozen
class CompleteBody:
    """``POST AGENT/repositories/ID/uploads/complete``; answered by `ObjectSeen`."""

    name: str
    upload: str
    parts: tuple[tuple[int, str], ...]
    hold: Hold | None
    """As in `UploadBody`."""


@frozen
class AbandonBody:
    """``POST AGENT/repositories/ID/uploads/abandon``; answered by nothing."""

    name: str
    upload: str


@frozen
class Problem:
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    faults: tuple[tuple[str, str], ...] = field(default=())
    """Path and reason of everything that is wrong with a body or the parameters of an address."""


@frozen
class Wake:
    """From the server through the socket: something is to be looked at."""

    topic: str
    """``work``, ``cancel`` or ``questions``."""
    subject_id: str = ""


def problem_type(error: type[BaseException]) -> str:
    """Return the URN that says which error it is, such as ``urn:backapp:error:LeaseLost``."""
    return f"urn:backapp:error:{error.__name__}"
