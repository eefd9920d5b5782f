"""What a server is told to back up: jobs, and the repositories that they fill."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import evolve, field, frozen

from backapp_core.engine import backup, schedule
from backapp_core.engine.buckets import Buckets
from backapp_core.engine.tokens import new_id
from backapp_core.errors import InvalidAddress, InvalidJob, RepositoryNotFound
from backapp_core.manager import PluginManager
from backapp_core.model.agents import Agent
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import SCHEME, ManagedRepository
from backapp_core.model.names import to_text
from backapp_core.model.repositories import DEFAULT_ARCHIVER
from backapp_core.model.requests import BackupRequest
from backapp_core.model.schedules import Schedule
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.tenants import TenantStore
from backapp_core.settings import ServerSettings

_LONGEST_PATH = 4096
_NOT_FOR_SERVERS = frozenset({"roots", "exclude_files"})
"""Settings of the scanner that stand elsewhere in a job, or have a machine read further files."""


@frozen
class RepositoryWish:
    """A repository that somebody wants; exactly one of `bucket` and `folder` is given."""

    name: str
    agent: str
    """Id or name of the machine that fills it."""
    bucket: str = ""
    """Name of one of the server's buckets."""
    folder: bytes = b""
    """Absolute path on that machine."""
    archiver: str = DEFAULT_ARCHIVER


@frozen
class JobWish:
    """A job that somebody wants, in words that are looked up and checked."""

    name: str
    repository: str
    """Id or name of a repository; its machine runs the job."""
    roots: tuple[bytes, ...]
    """Absolute paths."""
    scanner_settings: Mapping[str, object] = field(factory=dict[str, object])
    """Patterns and limits of the scanner ``files``."""
    schedule: Schedule | None = None
    tags: tuple[str, ...] = ()
    is_enabled: bool = True


def address_of(repository: ManagedRepository) -> str:
    """Return the address by which a job names a managed repository."""
    return f"{SCHEME}:{repository.id}"


def repository_id_of(job: Job) -> str:
    """Return the id of the managed repository that a job fills; empty if it fills none."""
    scheme, _, repository_id = job.repository.partition(":")
    return repository_id if scheme == SCHEME else ""


def add_repository(
    fleet: Fleet,
    surroundings: Surroundings,
    plugins: PluginManager,
    settings: ServerSettings,
    store: TenantStore,
    *,
    wish: RepositoryWish,
    buckets: Buckets,
) -> ManagedRepository:
    """Make room for a repository; the machine creates it when it is first used.

    What a bucket enforces of signed requests is found out and remembered.

    Raises:
        AgentNotFound: If there is no such machine.
        NameTaken: If the name or the folder is in use.
        InvalidAddress: If no place, two, or one that makes no sense is named.
        UnknownPlugin: If no archiver is called so.
        InvalidName: If no repository may be called so.
        InputError: If requests for the bucket cannot be signed.
        TransportError: If the bucket does not answer, or refuses.
    """
    agent = usable_agent(store.agents.get(wish.agent))
    plugins.archivers.get(wish.archiver)
    if bool(wish.bucket) == bool(wish.folder):
        raise InvalidAddress("name either one of the server's buckets or a folder of the machine")
    repository_id = new_id(surroundings)
    enforces: Enforcement | None = None
    if wish.bucket:
        bucket = bucket_called(settings, wish.bucket)
        # Opaque ids only: no name that somebody chose becomes part of a path.
        address = buckets.address_for(bucket, store.tenant.id, repository_id)
        enforces = buckets.probe(bucket)
    else:
        address = to_text(absolute_path(wish.folder, "the folder of a repository"))
    repository = ManagedRepository(
        id=repository_id,
        name=wish.name,
        agent_id=agent.id,
        address=address,
        is_local=not wish.bucket,
        created_at=fleet.now(),
        archiver=wish.archiver,
        enforces=enforces,
    )
    store.repositories.add(repository)
    return repository


def remove_repository(store: TenantStore, name: str) -> ManagedRepository:
    """Take the repository of this id or name off the server's lists, and return it.

    Nothing of what it holds is deleted, nor are its receipts.

    Raises:
        RepositoryNotFound: If there is none.
        StillInUse: If a job fills it, or a run that is about it waits or goes on.
    """
    return store.repositories.remove(store.repositories.get(name).id)


def hand_over(store: TenantStore, name: str, agent_name: str) -> ManagedRepository:
    """Let another machine use a repository whose own machine is lost, and run its jobs.

    The machine needs the password, which only the recovery sheet has; see `Agent.adopt`.

    Raises:
        RepositoryNotFound: If there is no such repository, or it was removed.
        AgentNotFound: If there is no such machine.
        InvalidJob: If its key was taken back, or nothing was ever backed up into the repository.
        StillInUse: If the key of the repository's own machine is good.
        NameTaken: If it is a folder, and another repository of that machine's stands there.
    """
    repository = usable_repository(store.repositories.get(name))
    agent = usable_agent(store.agents.get(agent_name))
    if repository.initialised_at is None:
        raise InvalidJob(
            f"nothing was backed up into '{repository.name}' yet; remove it, and make a repository"
            f" for '{agent.name}'"
        )
    return store.repositories.hand_over(repository.id, agent.id)


def checked_job(
    fleet: Fleet,
    surroundings: Surroundings,
    plugins: PluginManager,
    store: TenantStore,
    *,
    wish: JobWish,
    former: Job | None = None,
) -> Job:
    """Return the job that was wished for, if it makes sense.

    Only moments of the schedule count that come after it was made, changed or switched on.

    Raises:
        RepositoryNotFound: If there is no such repository, or it was removed.
        AgentNotFound: If its machine is gone.
        InvalidJob: If it names no source, one that is not absolute, or one that the machine's own
            policy keeps out.
        InvalidSchedule: If its schedule cannot be parsed, or never comes.
        InvalidSettings: If the scanner's settings do not fit.
        InputError: If a pattern is malformed.
    """
    repository = usable_repository(store.repositories.get(wish.repository))
    agent = usable_agent(store.agents.get(repository.agent_id))
    if not wish.roots:
        raise InvalidJob(f"job '{wish.name}' has no source; name at least one folder or file")
    for root in wish.roots:
        absolute_path(root, "a source")
        check_allowed(agent, root)
    now = fleet.now()
    if wish.schedule is not None:
        check_schedule(plugins, wish.schedule, now)
    check_scanner(plugins, surroundings, wish)
    job = Job(
        name=wish.name,
        repository=address_of(repository),
        roots=wish.roots,
        scanner_settings=wish.scanner_settings,
        schedule=wish.schedule,
        tags=wish.tags,
        is_enabled=wish.is_enabled,
        agent_id=agent.id,
    )
    is_same = (
        former is not None
        and former.schedule == job.schedule
        and former.is_enabled == job.is_enabled
    )
    return evolve(job, due_after=former.due_after if former is not None and is_same else now)


def add_job(
    fleet: Fleet,
    surroundings: Surroundings,
    plugins: PluginManager,
    store: TenantStore,
    *,
    wish: JobWish,
) -> Job:
    """Remember a new job.

    Raises:
        NameTaken: If there is one of this name; besides what `checked_job` raises.
    """
    job = checked_job(fleet, surroundings, plugins, store, wish=wish)
    store.jobs.add(job)
    return job


def replace_job(
    fleet: Fleet,
    surroundings: Surroundings,
    plugins: PluginManager,
    store: TenantStore,
    *,
    wish: JobWish,
) -> Job:
    """Put a job in the place of the one of the same name.

    Raises:
        JobNotFound: If there is none; besides what `checked_job` raises.
    """
    former = store.jobs.get(wish.name)
    job = checked_job(fleet, surroundings, plugins, store, wish=wish, former=former)
    store.jobs.replace(job)
    return job


def next_due(
    plugins: PluginManager, job: Job, *, after: datetime, count: int = 5
) -> list[datetime]:
    """Return when a job is due next; empty without a schedule, or if it is switched off.

    Raises:
        InvalidSchedule: If its schedule cannot be parsed.
        UnknownPlugin: If its scheduler is not installed.
    """
    if job.schedule is None or not job.is_enabled:
        return []
    return schedule.next_moments(plugins, job.schedule, after=after, count=count)


def absolute_path(path: bytes, what: str) -> bytes:
    """Return ``path`` if it is one that a machine can be told; ``what`` says what it is to be.

    Raises:
        InvalidJob: If it is not absolute, too long, or has ``.`` or ``..`` in it.
    """
    is_fine = (
        path.startswith(b"/")
        and b"\0" not in path
        and len(path) <= _LONGEST_PATH
        and not {b".", b".."} & set(path.split(b"/"))
    )
    if not is_fine:
        raise InvalidJob(
            f"'{to_text(path[:200])}' cannot be {what}; give an absolute path without . and .."
        )
    return path


def is_in_one_of(path: bytes, folders: Sequence[bytes]) -> bool:
    """Say whether ``path`` is one of ``folders`` or lies in one, going by names only."""
    parts = path.rstrip(b"/").split(b"/")
    return any(
        parts[: len(above)] == above
        for above in (folder.rstrip(b"/").split(b"/") for folder in folders)
    )


def bucket_called(settings: ServerSettings, name: str) -> str:
    """Return the address of one of the server's buckets.

    Raises:
        InvalidAddress: If none is called so.
    """
    if name not in settings.buckets:
        known = ", ".join(sorted(settings.buckets)) or "none"
        raise InvalidAddress(
            f"the server has no bucket of this name; named in its settings: {known}"
        )
    return settings.buckets[name]


def check_scanner(plugins: PluginManager, surroundings: Surroundings, wish: JobWish) -> None:
    """Refuse what a job says of what is left out, if no scanner can go by it.

    Raises:
        InvalidJob: If something is set that only the machine itself may say.
        InvalidSettings: If the scanner's settings do not fit.
        InputError: If a pattern is malformed.
    """
    for name in sorted(_NOT_FOR_SERVERS & set(wish.scanner_settings)):
        raise InvalidJob(f"'{name}' cannot be set for a job of a server, but on the machine only")
    request = BackupRequest(roots=wish.roots, scanner_settings=wish.scanner_settings)
    backup.open_scanner(plugins, surroundings, request, folder=None)


def check_schedule(plugins: PluginManager, wished: Schedule, now: datetime) -> None:
    """Refuse a schedule that is never due.

    Raises:
        InvalidSchedule: If it cannot be parsed.
        InvalidJob: If it never comes.
        UnknownPlugin: If its scheduler is not installed.
    """
    if not schedule.next_moments(plugins, wished, after=now, count=1):
        raise InvalidJob(f"the schedule '{wished.expression}' is never due")


def check_allowed(agent: Agent, root: bytes) -> None:
    """Refuse a source that the machine's own policy keeps out.

    Raises:
        InvalidJob: If it does.
    """
    allowed = agent.report.roots if agent.report else None
    if allowed is not None and not is_in_one_of(root, allowed):
        places = ", ".join(map(to_text, allowed)) or "nothing"
        raise InvalidJob(
            f"the policy of '{agent.name}' keeps {to_text(root)} out; it allows {places}"
        )


def usable_agent(agent: Agent) -> Agent:
    """Return a machine whose key is good.

    Raises:
        InvalidJob: If it was taken back.
    """
    if agent.revoked_at is not None:
        raise InvalidJob(f"the machine '{agent.name}' is no longer enrolled")
    return agent


def usable_repository(repository: ManagedRepository) -> ManagedRepository:
    """Return a repository that is on the server's lists.

    Raises:
        RepositoryNotFound: If it was removed.
    """
    if repository.removed_at is not None:
        raise RepositoryNotFound(f"repository '{repository.name}' was removed from this server")
    return repository
