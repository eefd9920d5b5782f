"""Bodies of the interface for people; what machines send stands in `backapp_core.wire`."""

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from backapp_core.engine.configure import repository_id_of
from backapp_core.events import Progress
from backapp_core.model.agents import Agent, EnrolmentToken
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.runs import Run
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.users import ApiToken, Invitation, Role, User

# --- what is sent


@frozen
class SignInBody:
    """Somebody signs in."""

    email: str
    password: str = field(repr=False)


@frozen
class JoinBody:
    """Somebody makes an account, with the token of an invitation."""

    token: str = field(repr=False)
    email: str
    name: str
    password: str = field(repr=False)


@frozen
class RegisterBody:
    """Somebody makes an account where anybody may."""

    email: str
    name: str
    password: str = field(repr=False)


@frozen
class MyselfBody:
    """What people may change of themselves."""

    name: str


@frozen
class PasswordBody:
    """Somebody changes the password."""

    present: str = field(repr=False)
    new: str = field(repr=False)


@frozen
class TokenBody:
    """A program is to act for somebody."""

    name: str
    expires_at: datetime | None = None


@frozen
class UserBody:
    """What an administrator changes of somebody; what is left out stays."""

    name: str | None = None
    role: Role | None = None
    is_enabled: bool | None = None


@frozen
class InvitationBody:
    """Somebody is to be invited."""

    role: Role
    email: str = ""
    """Only for this address; empty for whoever holds the link."""


@frozen
class EnrolmentBody:
    """A machine is to join."""

    agent_name: str


@frozen
class HandOverBody:
    """Another machine is to use a repository whose own machine is lost."""

    agent: str
    """Id or name of the other machine."""


@frozen
class JobBody:
    """What a job does; its name stands in the address, or beside it in a new one."""

    repository: str
    """Id or name; its machine runs the job."""
    roots: tuple[bytes, ...]
    """Absolute paths."""
    scanner_settings: Mapping[str, object] = field(factory=dict[str, object])
    """Patterns and limits, as the scanner ``files`` has them."""
    schedule: Schedule | None = None
    tags: tuple[str, ...] = ()
    is_enabled: bool = True


@frozen
class NewJobBody:
    """A new job."""

    name: str
    job: JobBody


# --- what is answered


@frozen
class Myself:
    """Who is signed in."""

    user: User
    tenant: str
    csrf: str
    """What a browser's page sends back in ``X-CSRF-Token``; empty for a program."""


@frozen
class Token:
    """An API token; shown once."""

    token: str = field(repr=False)
    kept: ApiToken


@frozen
class Tokens:
    """Somebody's API tokens."""

    tokens: tuple[ApiToken, ...]


@frozen
class Users:
    """The people of a tenant."""

    users: tuple[User, ...]


@frozen
class Invited:
    """An invitation; its token and link are shown once."""

    token: str = field(repr=False)
    link: str = field(repr=False)
    kept: Invitation


@frozen
class Invitations:
    """Invitations that can still be used."""

    invitations: tuple[Invitation, ...]


@frozen
class AgentShown:
    """A machine."""

    agent: Agent
    is_online: bool


@frozen
class Agents:
    """Machines by name."""

    agents: tuple[AgentShown, ...]
    next_after: str | None
    """What to ask for as ``after`` to get the part that follows; nothing at the end."""


@frozen
class Enrolment:
    """A token with which a machine joins; it and the command are shown once."""

    token: str = field(repr=False)
    command: str = field(repr=False)
    """To be pasted on the machine."""
    kept: EnrolmentToken


@frozen
class Enrolments:
    """Enrolment tokens that can still be used."""

    enrolments: tuple[EnrolmentToken, ...]


@frozen
class RepositoryShown:
    """A repository."""

    repository: ManagedRepository
    is_protected: bool


@frozen
class Repositories:
    """Repositories by name."""

    repositories: tuple[RepositoryShown, ...]
    next_after: str | None
    """What to ask for as ``after`` to get the part that follows; nothing at the end."""


@frozen
class Buckets:
    """Names of the buckets in which repositories can be made."""

    buckets: tuple[str, ...]


@frozen
class Snapshots:
    """Snapshots that were acknowledged, the newest first."""

    snapshots: tuple[Snapshot, ...]
    next_before: str | None
    """What to ask for as ``before`` to get the part that follows; nothing at the end."""


@frozen
class ReceiptShown:
    """A receipt with its hash."""

    sequence: int
    received_at: datetime
    agent_id: str
    run_id: str
    snapshot_id: str
    objects: int
    object_bytes: int
    previous_hash: str
    hash: str


@frozen
class Receipts:
    """The receipts of a repository, the newest first."""

    receipts: tuple[ReceiptShown, ...]
    next_before: int | None
    """What to ask for as ``before`` to get the part that follows; nothing at the end."""


@frozen
class JobShown:
    """A job."""

    name: str
    repository: str
    """Id of the repository."""
    agent_id: str
    roots: tuple[bytes, ...]
    scanner_settings: Mapping[str, object]
    schedule: Schedule | None
    tags: tuple[str, ...]
    is_enabled: bool
    next_due: tuple[datetime, ...] = ()


@frozen
class Jobs:
    """Jobs by name."""

    jobs: tuple[JobShown, ...]
    next_after: str | None
    """What to ask for as ``after`` to get the part that follows; nothing at the end."""


@frozen
class Preview:
    """The next due moments of a schedule."""

    next_due: tuple[datetime, ...]


@frozen
class RunPage:
    """Runs, the latest first."""

    runs: tuple[Run, ...]
    next_before: str | None
    """What to ask for as ``before`` to get the page that follows; nothing at the end."""


@frozen
class RunShown:
    """A run, and how far it has come."""

    run: Run
    progress: Progress | None


@frozen
class EventShown:
    """Something that happened during a run."""

    sequence: int
    at: datetime
    event: Mapping[str, object]
    """With its class in ``type``."""


@frozen
class Events:
    """What happened during a run, in order."""

    events: tuple[EventShown, ...]


@frozen
class Health:
    """Whether the server can work."""

    status: str
    version: str


def job_shown(job: Job, next_due: tuple[datetime, ...] = ()) -> JobShown:
    """Return a job as it is shown."""
    return JobShown(
        name=job.name,
        repository=repository_id_of(job),
        agent_id=job.agent_id,
        roots=job.roots,
        scanner_settings=job.scanner_settings,
        schedule=job.schedule,
        tags=job.tags,
        is_enabled=job.is_enabled,
        next_due=next_due,
    )
