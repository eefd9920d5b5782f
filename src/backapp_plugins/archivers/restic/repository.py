"""The repository: one method per verb, each in a module of its own."""

from collections.abc import Sequence
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import (
    BackupOptions,
    BackupResult,
    Repository,
    RepositoryInfo,
    Scanner,
    Snapshot,
)
from backapp_plugins.archivers.restic import listing
from backapp_plugins.archivers.restic.backup import BackupRun
from backapp_plugins.archivers.restic.place import Place


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
    def close(self) -> None:
        self._place.transport.close()
