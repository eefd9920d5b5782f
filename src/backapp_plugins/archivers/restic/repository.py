"""The repository: one method per verb, each in a module of its own."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, final

from typing_extensions import override

from backapp_core.plugin_api import (
    BackupOptions,
    BackupResult,
    CheckReport,
    CleanUpOptions,
    CleanUpPlan,
    ContentStats,
    DataSubset,
    Everything,
    IndexRepair,
    InputError,
    KeyInfo,
    Node,
    PackRepair,
    RemovalPlan,
    Repository,
    RepositoryInfo,
    RepositoryStats,
    Scanner,
    Selection,
    Snapshot,
    SnapshotCopy,
    SnapshotRepair,
    Target,
)
from backapp_plugins.archivers.restic import listing
from backapp_plugins.archivers.restic.access import locks
from backapp_plugins.archivers.restic.format.layout import INDEX
from backapp_plugins.archivers.restic.format.polynomial import polynomial_to_text
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.place import Place

if TYPE_CHECKING:
    from backapp_plugins.archivers.restic.access.key_ring import KeyRing
    from backapp_plugins.archivers.restic.prune.pruning import Pruner


@final
class ResticRepository(Repository):
    """Deduplicated, compressed and encrypted snapshots in restic's format."""

    takes_streams = True

    def __init__(self, place: Place) -> None:
        self._place = place
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
        from backapp_plugins.archivers.restic.backup.run import BackupRun

        return BackupRun(self._place, scanner, options).run()

    @override
    def snapshots(self) -> Sequence[Snapshot]:
        return [record.snapshot for record in listing.all_records(self._place)]

    @override
    def nodes(self, snapshot: Snapshot, selection: Selection = Everything()) -> Iterator[Node]:
        from backapp_plugins.archivers.restic.reading import walking
        from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader

        record = listing.find_record(self._place, snapshot.id)
        trees = TreeReader(self._place, self._current_index())
        yield from walking.nodes(trees, record.tree, selection)
        trees.report()

    @override
    def read(self, snapshot: Snapshot, node: Node) -> Iterator[bytes]:
        from backapp_plugins.archivers.restic.reading.file_content import file_content

        record = listing.find_record(self._place, snapshot.id)
        with self._place.hold_to_read():
            index = self._current_index()
            yield from file_content(self._place, index, record.tree, snapshot, node)

    @override
    def restore(
        self, snapshot: Snapshot, target: Target, selection: Selection = Everything()
    ) -> None:
        from backapp_plugins.archivers.restic.restore import restoring

        try:
            record = listing.find_record(self._place, snapshot.id)
            with self._place.hold_to_read():
                index = self._current_index()
                restoring.restore(self._place, index, record.tree, target, selection)
        finally:
            target.close()

    @override
    def check(self, *, read_data: bool | DataSubset = False) -> CheckReport:
        from backapp_plugins.archivers.restic.check.checking import Check

        return Check(self._place, read_data=read_data).run()

    @override
    def retag(self, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
        from backapp_plugins.archivers.restic.prune import removing

        return removing.retag(self._place, snapshot, tags)

    @override
    def remove(self, plan: RemovalPlan) -> None:
        from backapp_plugins.archivers.restic.prune import removing

        removing.remove(self._place, plan)

    @override
    def plan_clean_up(self, options: CleanUpOptions = CleanUpOptions()) -> CleanUpPlan:
        return self._pruner.plan(options)

    @override
    def clean_up(self, plan: CleanUpPlan) -> CleanUpPlan:
        return self._pruner.prune(plan)

    @override
    def stats(self, snapshots: Sequence[Snapshot]) -> RepositoryStats:
        from backapp_plugins.archivers.restic.statistics import statistics

        return statistics(self, self._place, snapshots)

    # --- what only some repositories can do

    def repair_index(self, *, reads_all_packs: bool = False, is_dry: bool = False) -> IndexRepair:
        """See `CanRepair`."""
        from backapp_plugins.archivers.restic.repair import index_repair

        return index_repair.repair_index(
            self._place, reads_all_packs=reads_all_packs, is_dry=is_dry
        )

    def repair_packs(self, names: Sequence[str], *, is_dry: bool = False) -> Sequence[PackRepair]:
        """See `CanRepair`."""
        from backapp_plugins.archivers.restic.repair import pack_repair

        return pack_repair.repair_packs(self._place, names, is_dry=is_dry)

    def repair_snapshots(
        self, snapshots: Sequence[Snapshot], *, forgets: bool = False, is_dry: bool = False
    ) -> Sequence[SnapshotRepair]:
        """See `CanRepair`."""
        from backapp_plugins.archivers.restic.repair import snapshot_repair

        return snapshot_repair.repair_snapshots(
            self._place, snapshots, forgets=forgets, is_dry=is_dry
        )

    def recover(self) -> Snapshot | None:
        """See `CanRepair`."""
        from backapp_plugins.archivers.restic.repair import recovering

        return recovering.recover(self._place)

    def copy_from(
        self, source: Repository, snapshots: Sequence[Snapshot]
    ) -> Sequence[SnapshotCopy]:
        """See `CanCopy`.

        Raises:
            InputError: If the source is of another kind.
        """
        from backapp_plugins.archivers.restic import copying

        if not isinstance(source, ResticRepository):
            raise InputError(
                f"snapshots of a {source.info.archiver} repository cannot be copied into a restic "
                "repository; restore them and back them up there"
            )
        return copying.copy_snapshots(source._place, self._place, snapshots)  # noqa: SLF001  # our own class

    def twin_options(self) -> Mapping[str, object]:
        """See `CanCopy`."""
        config = self._place.config
        return {
            "chunker": config.chunker,
            "polynomial": polynomial_to_text(config.chunker_polynomial),
        }

    def show(self, sort: str, name: str = "") -> Iterator[bytes]:
        """See `CanShowObjects`."""
        from backapp_plugins.archivers.restic import showing

        return showing.show(self._place, sort, name)

    def content_stats(self, snapshots: Sequence[Snapshot]) -> ContentStats:
        """See `CanCountContent`."""
        from backapp_plugins.archivers.restic.content_statistics import content_statistics

        with self._place.hold_to_read():
            trees = [listing.find_record(self._place, one.id).tree for one in snapshots]
            return content_statistics(self._place, self._current_index(), trees)

    def unlock(self, *, removes_all: bool = False) -> Sequence[str]:
        """See `CanUnlock`."""
        place = self._place
        removed = locks.unlock(
            place.transport, place.codec, place.surroundings, remove_all=removes_all
        )
        return [found.name for found in removed]

    def keys(self) -> Sequence[KeyInfo]:
        """See `HasKeys`."""
        return [
            KeyInfo(
                id=one.id.hex(),
                created_at=one.created_at,
                username=one.username,
                hostname=one.hostname,
                is_current=one.is_current,
            )
            for one in self._key_ring().list()
        ]

    def add_key(self, password: str) -> KeyInfo:
        """See `HasKeys`."""
        return self._key(self._key_ring().add(password))

    def remove_key(self, name: str) -> None:
        """See `HasKeys`."""
        ring = self._key_ring()
        ring.remove(ring.named(name))

    def change_password(self, password: str) -> KeyInfo:
        """See `HasKeys`."""
        ring = self._key_ring()
        key_id = ring.change_password(password)
        self._place.key = ring.current
        return self._key(key_id)

    @override
    def close(self) -> None:
        self._place.transport.close()

    @cached_property
    def _pruner(self) -> "Pruner":
        from backapp_plugins.archivers.restic.prune.pruning import Pruner

        return Pruner(self._place)

    def _key_ring(self) -> "KeyRing":
        from backapp_plugins.archivers.restic.access.key_ring import KeyRing

        place = self._place
        return KeyRing(place.transport, place.key, place.surroundings, version=place.config.version)

    def _key(self, key_id: bytes) -> KeyInfo:
        return next(one for one in self.keys() if one.id == key_id.hex())

    def _current_index(self) -> Index:
        """Return the index as the repository has it now; read again only if something changed."""
        there = frozenset(index_id for index_id, _ in self._place.listed(INDEX))
        if self._index is None or self._index.files != there:
            self._index = self._place.load_index()
        return self._index
