"""The repository: one method per verb, each in a module of its own."""

from collections.abc import Iterator, Sequence
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import (
    BackupOptions,
    BackupResult,
    CheckReport,
    CleanUpOptions,
    CleanUpPlan,
    DataSubset,
    Everything,
    Node,
    RemovalPlan,
    Repository,
    RepositoryInfo,
    RepositoryStats,
    Scanner,
    Selection,
    Snapshot,
    Target,
)
from backapp_plugins.archivers.restic import listing, removing, restoring, walking
from backapp_plugins.archivers.restic.backup import BackupRun
from backapp_plugins.archivers.restic.file_content import file_content
from backapp_plugins.archivers.restic.index import Index
from backapp_plugins.archivers.restic.layout import INDEX
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.pruning import Pruner
from backapp_plugins.archivers.restic.statistics import statistics
from backapp_plugins.archivers.restic.tree_reader import TreeReader


@final
class ResticRepository(Repository):
    """Deduplicated, compressed and encrypted snapshots in restic's format."""

    takes_streams = True

    def __init__(self, place: Place) -> None:
        self._place = place
        self._pruner = Pruner(place)
        self._index: Index | None = None
        self.info = RepositoryInfo(
            id=place.config.id,
            archiver="restic",
            version=place.config.version,
            created_at=None,
            is_encrypted=True,
        )

    @override
    def backup(self, scanner: Scanner, options: BackupOptions) -> BackupResult:
        return BackupRun(self._place, scanner, options).run()

    @override
    def snapshots(self) -> Sequence[Snapshot]:
        return [record.snapshot for record in listing.all_records(self._place)]

    @override
    def nodes(self, snapshot: Snapshot, selection: Selection = Everything()) -> Iterator[Node]:
        record = listing.find_record(self._place, snapshot.id)
        trees = TreeReader(self._place, self._current_index())
        yield from walking.nodes(trees, record.tree, selection)
        trees.report()

    @override
    def read(self, snapshot: Snapshot, node: Node) -> Iterator[bytes]:
        record = listing.find_record(self._place, snapshot.id)
        with self._place.hold_to_read():
            index = self._current_index()
            yield from file_content(self._place, index, record.tree, snapshot, node)

    @override
    def restore(
        self, snapshot: Snapshot, target: Target, selection: Selection = Everything()
    ) -> None:
        try:
            record = listing.find_record(self._place, snapshot.id)
            with self._place.hold_to_read():
                index = self._current_index()
                restoring.restore(self._place, index, record.tree, target, selection)
        finally:
            target.close()

    @override
    def check(self, *, read_data: bool | DataSubset = False) -> CheckReport:
        from backapp_plugins.archivers.restic.checking import Check

        return Check(self._place, read_data=read_data).run()

    @override
    def retag(self, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
        return removing.retag(self._place, snapshot, tags)

    @override
    def remove(self, plan: RemovalPlan) -> None:
        removing.remove(self._place, plan)

    @override
    def plan_clean_up(self, options: CleanUpOptions = CleanUpOptions()) -> CleanUpPlan:
        return self._pruner.plan(options)

    @override
    def clean_up(self, plan: CleanUpPlan) -> CleanUpPlan:
        return self._pruner.prune(plan)

    @override
    def stats(self, snapshots: Sequence[Snapshot]) -> RepositoryStats:
        return statistics(self, self._place, snapshots)

    @override
    def close(self) -> None:
        self._place.transport.close()

    def _current_index(self) -> Index:
        """Return the index as the repository has it now; read again only if something changed."""
        there = frozenset(index_id for index_id, _ in self._place.listed(INDEX))
        if self._index is None or self._index.files != there:
            self._index = self._place.load_index()
        return self._index
