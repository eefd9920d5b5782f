"""The repository: one method per verb, each in a module of its own."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, final

from typing_extensions import override

from backapp_core.plugin_api import (
    BackupOptions,
    BackupResult,
    CleanUpOptions,
    CleanUpPlan,
    RemovalPlan,
    Repository,
    RepositoryInfo,
    Scanner,
    Snapshot,
)
from backapp_plugins.archivers.restic import listing
from backapp_plugins.archivers.restic.backup import BackupRun
from backapp_plugins.archivers.restic.place import Place

if TYPE_CHECKING:
    from backapp_plugins.archivers.restic.pruning import Pruner


@final
class ResticRepository(Repository):
    """Deduplicated, compressed and encrypted snapshots in restic's format."""

    def __init__(self, place: Place) -> None:
        self._place = place
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
    def retag(self, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
        from backapp_plugins.archivers.restic import removing

        return removing.retag(self._place, snapshot, tags)

    @override
    def remove(self, plan: RemovalPlan) -> None:
        from backapp_plugins.archivers.restic import removing

        removing.remove(self._place, plan)

    @override
    def plan_clean_up(self, options: CleanUpOptions = CleanUpOptions()) -> CleanUpPlan:
        return self._pruner.plan(options)

    @override
    def clean_up(self, plan: CleanUpPlan) -> CleanUpPlan:
        return self._pruner.prune(plan)

    @override
    def close(self) -> None:
        self._place.transport.close()

    @cached_property
    def _pruner(self) -> "Pruner":
        from backapp_plugins.archivers.restic.pruning import Pruner

        return Pruner(self._place)
