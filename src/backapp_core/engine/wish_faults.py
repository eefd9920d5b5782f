"""Looks at a whole wish and says everything that is wrong with it, each beside its field.

What is wished for is checked again when it is carried out (`engine.configure`); this is for people
who fill in a form and want to hear of all faults at once.
"""

import zoneinfo
from contextlib import suppress

from attrs import evolve, frozen

from backapp_core.engine.configure import (
    JobWish,
    RepositoryWish,
    absolute_path,
    bucket_called,
    check_allowed,
    check_scanner,
    check_schedule,
    usable_agent,
    usable_repository,
)
from backapp_core.errors import InputError, MissingError, UnknownPlugin
from backapp_core.manager import PluginManager
from backapp_core.model.agents import Agent
from backapp_core.model.jobs import check_job_name
from backapp_core.model.names import to_text
from backapp_core.model.schedules import Schedule
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.tenants import TenantStore
from backapp_core.settings import ServerSettings


@frozen
class Fault:
    """Something about a wish that cannot be."""

    field: str
    """Which field of the wish; ``time_zone`` for that of its schedule."""
    sentence: str
    """Without a full stop."""


def job_faults(
    fleet: Fleet,
    surroundings: Surroundings,
    plugins: PluginManager,
    store: TenantStore,
    *,
    wish: JobWish,
    is_new: bool,
) -> list[Fault]:
    """Return everything that is wrong with a job that somebody wants, in the order of its fields.

    Raises:
        StoreError: If the store does not answer.
    """
    faults: list[Fault] = []
    with _Noting(faults, "name"):
        check_job_name(wish.name)
    if is_new:
        with suppress(MissingError):
            store.jobs.get(wish.name)
            faults.append(Fault("name", f"a job called '{wish.name}' exists already"))
    agent: Agent | None = None
    if not wish.repository:
        faults.append(Fault("repository", "choose the repository that it is to fill"))
    else:
        with _Noting(faults, "repository"):
            repository = usable_repository(store.repositories.get(wish.repository))
            agent = usable_agent(store.agents.get(repository.agent_id))
    if not wish.roots:
        faults.append(Fault("roots", "name at least one folder or file"))
    for root in wish.roots:
        with _Noting(faults, "roots"):
            absolute_path(root, "a source")
            if agent is not None:
                check_allowed(agent, root)
    with _Noting(faults, "scanner_settings"):
        # Only what is left out is looked at here; sources have been.
        check_scanner(plugins, surroundings, evolve(wish, roots=(b"/",)))
    if wish.schedule is not None:
        faults += _schedule_faults(fleet, plugins, wish.schedule)
    return faults


def repository_faults(
    settings: ServerSettings, plugins: PluginManager, store: TenantStore, wish: RepositoryWish
) -> list[Fault]:
    """Return everything that is wrong with a repository that somebody wants.

    What its bucket says is found out only when it is made.

    Raises:
        StoreError: If the store does not answer.
    """
    faults: list[Fault] = []
    with _Noting(faults, "name"):
        check_job_name(wish.name)  # the same letters
    with suppress(MissingError):
        found = store.repositories.get(wish.name)
        if found.name == wish.name and found.removed_at is None:
            faults.append(Fault("name", f"a repository called '{wish.name}' exists already"))
    agent: Agent | None = None
    if not wish.agent:
        faults.append(Fault("agent", "choose the machine that is to fill it"))
    else:
        with _Noting(faults, "agent"):
            agent = usable_agent(store.agents.get(wish.agent))
    if wish.bucket:
        with _Noting(faults, "bucket"):
            bucket_called(settings, wish.bucket)
    else:
        with _Noting(faults, "folder"):
            absolute_path(wish.folder, "the folder of a repository")
        if agent is not None and store.repositories.is_folder_taken(agent.id, to_text(wish.folder)):
            faults.append(Fault("folder", "another repository of this machine stands there"))
    with _Noting(faults, "archiver"):
        plugins.archivers.get(wish.archiver)
    return faults


def _schedule_faults(fleet: Fleet, plugins: PluginManager, wished: Schedule) -> list[Fault]:
    faults: list[Fault] = []
    try:
        zoneinfo.ZoneInfo(wished.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        sentence = "there is no such time zone; write it like Europe/Vienna, or UTC"
        faults.append(Fault("time_zone", sentence))
        wished = Schedule(wished.expression, scheduler=wished.scheduler)
    with _Noting(faults, "schedule"):
        check_schedule(plugins, wished, fleet.now())
    return faults


@frozen
class _Noting:
    """Turns what is wrong into a fault of a field; what else goes wrong goes on."""

    faults: list[Fault]
    field: str

    def __enter__(self) -> None:
        """Begin to look."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Note what was found."""
        if not isinstance(error, InputError | MissingError | UnknownPlugin):
            return False
        self.faults.append(Fault(self.field, error.message))
        return True
