"""The object a door holds: one method per verb, each a call into the module of that verb."""

from __future__ import annotations  # what verbs give back is imported by need

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, final
from weakref import WeakKeyDictionary

from typing_extensions import override

from backapp_core.engine import browse, results
from backapp_core.errors import InputError
from backapp_core.model.diagnoses import Diagnosis
from backapp_core.model.entries import Node
from backapp_core.model.jobs import Job
from backapp_core.model.names import AnyPath, path_bytes
from backapp_core.model.repositories import (
    DEFAULT_ARCHIVER,
    CheckReport,
    CleanUpOptions,
    CleanUpPlan,
    RepositoryStats,
)
from backapp_core.model.requests import (
    FindRequest,
    ForgetRequest,
    RestoreRequest,
    Sources,
    as_request,
)
from backapp_core.model.restores import RestoreOutcome
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Counts, Snapshot, SnapshotFilter
from backapp_core.model.subsets import DataSubset
from backapp_core.ports.archivers import BackupResult, Repository
from backapp_core.ports.closing import Closing
from backapp_core.ports.stores import Jobs, Runs, Store
from backapp_core.ports.surroundings import NO_KEYS, Keys, Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.settings import Settings


@final
class Engine(Closing):
    """Every verb, on plugins that are loaded and a store that is opened when they are first needed.

    Made by `backapp_core.assemble`. One engine may be used from several threads, an
    opened repository from one at a time; nothing may be asked of a repository that is closed, which
    not every archiver notices. After its cancel token was set an engine is of no further use: verbs
    raise `RunCancelled`. What a verb raises stands in the module of that verb; everything is a
    `BackappError`.
    """

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
        plugins: results.PluginManager | None = None,
    ) -> None:
        self.settings = settings
        self.surroundings = surroundings
        self._plugins = plugins
        self._store: Store | None = None
        self._lock = threading.RLock()
        self._transports: WeakKeyDictionary[Repository, Transport] = WeakKeyDictionary()
        self._ahead: WeakKeyDictionary[Repository, results.Ahead | None] = WeakKeyDictionary()

    # --- what it stands on

    @property
    def plugins(self) -> results.PluginManager:
        """What is installed; loaded on first use."""
        with self._lock:
            if self._plugins is None:
                disabled = self.settings.plugins.disabled
                self._plugins = results.PluginManager.load(disabled=disabled)
            return self._plugins

    @property
    def store(self) -> Store:
        """What remembers jobs and runs; opened, and created if need be, on first use."""
        from backapp_core.engine import run

        with self._lock:
            if self._store is None:
                self._store = run.open_store(self.plugins, self.surroundings, self.settings)
            return self._store

    @property
    def jobs(self) -> Jobs:
        """The jobs that the store remembers."""
        return self.store.jobs

    @property
    def runs(self) -> Runs:
        """The runs that the store remembers."""
        return self.store.runs

    @override
    def close(self) -> None:
        """Close the store if it was opened; closing twice is fine.

        Repositories are closed by whoever opened them.
        """
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    # --- repositories

    def create_repository(
        self,
        address: AnyPath,
        *,
        archiver: str = DEFAULT_ARCHIVER,
        options: Mapping[str, object] | None = None,
        keys: Keys = NO_KEYS,
    ) -> Repository:
        """Create a repository and return it open.

        ``options`` are plain data that the archiver kind's settings are made of.
        """
        from backapp_core.engine import opening

        plugins, around, at = self.plugins, self.surroundings, _address(address)
        opened = opening.create_repository(
            plugins, around, at, archiver=archiver, options=options or {}, keys=keys
        )
        self._transports[opened.repository] = opened.transport
        return opened.repository

    def open_repository(
        self, address: AnyPath, *, keys: Keys = NO_KEYS, sources: Sources | None = None
    ) -> Repository:
        """Open what stands at an address; begins to look at ``sources`` if `backup` comes next."""
        from backapp_core.engine import opening

        plugins, around = self.plugins, self.surroundings
        look = results.LookAhead(plugins, around, as_request(sources)) if sources else None
        opened = opening.open_repository(plugins, around, _address(address), keys, look_ahead=look)
        self._transports[opened.repository] = opened.transport
        self._ahead[opened.repository] = opened.ahead
        return opened.repository

    def address_of(self, repository: Repository) -> str:
        """Return where a repository stands that this engine opened, without secrets; else empty."""
        from backapp_core.engine.addresses import without_secret

        transport = self._transports.get(repository)
        return without_secret(transport.address) if transport is not None else ""

    # --- backing up

    def backup(self, repository: Repository, sources: Sources) -> BackupResult:
        """Back up; see `backapp_core.engine.backup`.

        Raises:
            InputError: Also if another engine opened the repository: where it stands, and with that
                what to leave out, is known to that one alone.
        """
        from backapp_core.engine import backup, opening

        folder = opening.local_folder(self._transport_of(repository))
        request, ahead = as_request(sources), self._ahead.pop(repository, None)
        return backup.backup(
            self.plugins, self.surroundings, repository, request, folder=folder, ahead=ahead
        )

    def _transport_of(self, repository: Repository) -> Transport:
        if repository not in self._transports:
            raise InputError("the repository was not opened by this engine; use the one that did")
        return self._transports[repository]

    def estimate(self, sources: Sources, repository: Repository | None = None) -> Counts:
        """Say how much there is, by a walk that reads no file; may run beside a backup.

        With the ``repository`` that a backup would fill, entries and problems are told as events.
        """
        from backapp_core.engine import backup

        transport = self._transport_of(repository) if repository is not None else None
        return backup.estimate(self.plugins, self.surroundings, as_request(sources), transport)

    # --- looking

    def snapshots(
        self,
        repository: Repository,
        snapshot_filter: SnapshotFilter = SnapshotFilter(),
        *,
        latest: int = 0,
    ) -> list[Snapshot]:
        """Return matching snapshots, oldest first; ``latest`` of each host and roots, 0 for all."""
        return browse.snapshots(self.surroundings, repository, snapshot_filter, latest=latest)

    def find_snapshot(
        self,
        repository: Repository,
        name: str,
        snapshot_filter: SnapshotFilter = SnapshotFilter(),
    ) -> Snapshot:
        """Return the snapshot that is called so: ``latest``, an id, or the beginning of one."""
        return browse.find_snapshot(self.surroundings, repository, name, snapshot_filter)

    def list_nodes(
        self,
        repository: Repository,
        snapshot: Snapshot,
        *,
        under: AnyPath = b"",
        recursive: bool = True,
    ) -> Iterator[Node]:
        """Yield what is in a snapshot, lazily."""
        return browse.list_nodes(repository, snapshot, under=path_bytes(under), recursive=recursive)

    def find(self, repository: Repository, request: FindRequest) -> Iterator[results.Match]:
        """Yield what matches in many snapshots, the newest first."""
        from backapp_core.engine import find

        return find.find(self.surroundings, repository, request)

    def diff(
        self,
        repository: Repository,
        before: Snapshot,
        after: Snapshot,
        *,
        metadata: bool = False,
    ) -> results.Differences:
        """Compare two snapshots; iterate over the result, then ask it for ``stats``."""
        from backapp_core.engine import diff

        return diff.diff(repository, before, after, metadata=metadata)

    def stats(
        self, repository: Repository, snapshots: Sequence[Snapshot] | None = None
    ) -> RepositoryStats:
        """Return figures; the restore size is that of ``snapshots``, None for all."""
        return repository.stats(repository.snapshots() if snapshots is None else snapshots)

    # --- getting back

    def plan_restore(
        self, repository: Repository, snapshot: Snapshot, request: RestoreRequest
    ) -> results.RestorePlan:
        """Say what a restore would do; iterate over the plan to see it node by node."""
        from backapp_core.engine import restore

        self.check_target(repository, request.target)
        return restore.plan_restore(repository, snapshot, request)

    def check_target(self, repository: Repository, target: AnyPath) -> None:
        """Refuse to write out into the repository's own folder."""
        from backapp_core.engine import opening, own_folder

        own_folder.check_outside(opening.local_folder(self._transports.get(repository)), target)

    def restore(self, plan: results.RestorePlan) -> RestoreOutcome:
        """Restore; what could not be is listed in the outcome."""
        from backapp_core.engine import restore

        return restore.restore(self.surroundings, plan)

    def dump(
        self, repository: Repository, snapshot: Snapshot, path: AnyPath, out: BinaryIO
    ) -> None:
        """Write one file to ``out`` as it is, or a folder as a tar archive."""
        from backapp_core.engine import dump

        dump.dump(self.surroundings, repository, snapshot, path_bytes(path), out)

    # --- keeping in order

    def check(
        self,
        repository: Repository,
        *,
        read_data: bool | DataSubset = False,
        accepts_missing: bool = False,
    ) -> CheckReport:
        """Look whether everything is there and whole, and whether known snapshots vanished."""
        from backapp_core.engine import verify

        return verify.check(
            self.surroundings, repository, read_data=read_data, accepts_missing=accepts_missing
        )

    def plan_forget(self, repository: Repository, request: ForgetRequest) -> results.ForgetPlan:
        """Say which snapshots would go."""
        from backapp_core.engine import prune

        return prune.plan_forget(self.surroundings, repository, request)

    def forget(self, repository: Repository, plan: results.ForgetPlan) -> Sequence[str]:
        """Remove the snapshots of a plan and return their ids."""
        from backapp_core.engine import prune

        return prune.forget(self.surroundings, repository, plan)

    def plan_prune(
        self, repository: Repository, options: CleanUpOptions = CleanUpOptions()
    ) -> CleanUpPlan:
        """Say which objects no snapshot needs any more."""
        from backapp_core.engine import prune

        return prune.plan_prune(repository, options)

    def prune(self, repository: Repository, plan: CleanUpPlan) -> CleanUpPlan:
        """Delete the objects of a plan that still nothing needs; return what was deleted."""
        from backapp_core.engine import prune

        return prune.prune(repository, plan)

    def tag(
        self,
        repository: Repository,
        snapshots: Sequence[Snapshot],
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        replace: Sequence[str] | None = None,
    ) -> list[results.Retagged]:
        """Change tags; return the snapshots that changed, before and after."""
        from backapp_core.engine import tag

        return tag.tag(
            self.surroundings, repository, snapshots, add=add, remove=remove, replace=replace
        )

    def upkeep(self, repository: Repository) -> results.Upkeep:
        """Return the verbs that only some repositories have: repairs, copies, keys, locks."""
        from backapp_core.engine import upkeep

        return upkeep.Upkeep(self.surroundings, repository)

    # --- jobs

    def run_job(self, name: str, *, due_at: datetime | None = None, keys: Keys = NO_KEYS) -> Run:
        """Run a job now, recorded, and return how it ended; ``keys`` count where it names none."""
        from backapp_core.engine import run

        return run.run_job(
            self.plugins,
            self.surroundings,
            self.settings,
            self.store,
            name,
            due_at=due_at,
            keys=keys,
        )

    def check_job(self, job: Job) -> None:
        """Refuse a job that could never run (schedule, address, scanner settings, patterns)."""
        from backapp_core.engine import run

        run.check_job(self.plugins, self.surroundings, job)

    def next_due(self, job: Job) -> datetime | None:
        """Return when a job is due next; None without a schedule, or if it never is."""
        from backapp_core.engine import run

        return run.next_due(self.plugins, self.surroundings, job)

    # --- the machine

    def diagnose(
        self,
        address: str = "",
        *,
        sources: Sources = (),
        target: Path | None = None,
        keys: Keys = NO_KEYS,
        probes_writing: bool = False,
    ) -> list[Diagnosis]:
        """Look for what would stand in the way; changes nothing unless it may probe."""
        from backapp_core.engine import diagnose

        return diagnose.diagnose(
            self.plugins,
            self.surroundings,
            address,
            as_request(sources),
            target=target,
            keys=keys,
            probes_writing=probes_writing,
            settings=self.settings,
        )


def _address(address: AnyPath) -> str:
    return address if isinstance(address, str) else os.fsdecode(path_bytes(address))
