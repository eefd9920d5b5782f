"""The repository: one method per verb, each in a module of its own that is loaded when needed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, final

from typing_extensions import override

from backapp_core.plugin_api import (
    BackupOptions,
    BackupResult,
    CheckReport,
    CleanUpOptions,
    CleanUpPlan,
    DamagedRepository,
    DataSubset,
    EntryKind,
    Everything,
    InputError,
    Keys,
    Node,
    ObjectExists,
    ObjectMissing,
    RemovalPlan,
    Repository,
    RepositoryExists,
    RepositoryStats,
    Scanner,
    Selection,
    Snapshot,
    Surroundings,
    Target,
    Transport,
    UnknownFormat,
    to_text,
)
from backapp_plugins.archivers.targz import layout, pin
from backapp_plugins.archivers.targz.envelope import parse_recipient
from backapp_plugins.archivers.targz.layout import Config
from backapp_plugins.archivers.targz.place import Place
from backapp_plugins.archivers.targz.settings import TargzSettings

if TYPE_CHECKING:
    from backapp_plugins.archivers.targz.restoring import SnapshotReader


def recognises(transport: Transport) -> bool:
    """Say whether the description of such a repository stands there."""
    try:
        transport.stat(layout.CONFIG_NAME)
    except ObjectMissing:
        return False
    return True


def create(
    transport: Transport, settings: TargzSettings, keys: Keys, surroundings: Surroundings
) -> Repository:
    """Write the description and open the repository.

    Raises:
        RepositoryExists: If one stands there.
        InputError: If a recipient is none.
        PartMissing: If there are recipients and age is not installed.
    """
    for recipient in settings.recipients:
        parse_recipient(recipient)
    config = Config(
        format=layout.FORMAT,
        version=layout.VERSION,
        id=surroundings.random_bytes(16).hex(),
        created_at=surroundings.clock.now(),
        compression_level=settings.compression_level,
        increments=settings.increments,
        recipients=settings.recipients,
    )
    data = layout.new_config(config)
    transport.prepare()
    try:
        transport.put(layout.CONFIG_NAME, [data], size_bytes=len(data))
    except ObjectExists as error:
        raise RepositoryExists(f"a repository already stands at {transport.address}") from error
    pin.remember(transport.address, config, surroundings)
    return TargzRepository(Place(transport, config, keys, surroundings))


def lacks(transport: Transport) -> str:
    """Return the name of the description if it is missing beside snapshots; else nothing."""
    stored = transport.list(layout.SNAPSHOTS)
    if not any(layout.SNAPSHOT_NAME.fullmatch(info.name) for info in stored):
        return ""
    return "" if recognises(transport) else layout.CONFIG_NAME


def open_repository(transport: Transport, keys: Keys, surroundings: Surroundings) -> Repository:
    """Read the description and open the repository.

    Raises:
        UnknownFormat: If it is of another format or a newer version.
        DamagedRepository: If the description is altered or gone, or names other recipients than
            this machine knows.
    """
    try:
        config = _read_config(transport)
    except (DamagedRepository, UnknownFormat):
        config = _read_config(transport)  # one bad transfer is no damage
    pin.require_same(transport.address, config, surroundings)
    return TargzRepository(Place(transport, config, keys, surroundings))


def _read_config(transport: Transport) -> Config:
    try:
        data = transport.read(layout.CONFIG_NAME)
    except ObjectMissing as error:
        raise DamagedRepository(
            f"{layout.CONFIG_NAME} is missing at {transport.address}"
        ) from error
    return layout.decode_config(data, address=transport.address)


@final
class TargzRepository(Repository):
    """Ordinary tar.gz archives with a manifest per snapshot."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.info = place.config.info

    @override
    def backup(self, scanner: Scanner, options: BackupOptions) -> BackupResult:
        from backapp_plugins.archivers.targz.backup import BackupRun

        return BackupRun(self._place, scanner, options).run()

    @override
    def snapshots(self) -> Sequence[Snapshot]:
        return [
            layout.snapshot_of(record, snapshot_id) for snapshot_id, record in self._place.records()
        ]

    @override
    def nodes(self, snapshot: Snapshot, selection: Selection = Everything()) -> Iterator[Node]:
        with self._reader(snapshot) as reader:
            yield from reader.nodes(selection)

    @override
    def read(self, snapshot: Snapshot, node: Node) -> Iterator[bytes]:
        with self._reader(snapshot) as reader:
            line = reader.find(node.path)
            if line is None or line.type != EntryKind.FILE:
                raise InputError(f"{to_text(node.path)} is no file of snapshot {snapshot.short_id}")
            yield from reader.content(line)

    @override
    def restore(
        self, snapshot: Snapshot, target: Target, selection: Selection = Everything()
    ) -> None:
        try:
            with self._reader(snapshot) as reader:
                reader.restore(target, selection)
        finally:
            target.close()

    @override
    def check(self, *, read_data: bool | DataSubset = False) -> CheckReport:
        from backapp_plugins.archivers.targz import locks
        from backapp_plugins.archivers.targz.checking import Check

        with locks.hold_to_read(self._place.transport, self._place.surroundings):
            return Check(self._place, DataSubset.of(read_data)).run()

    @override
    def retag(self, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
        from backapp_plugins.archivers.targz import cleaning

        return cleaning.retag(self._place, snapshot, tags)

    @override
    def remove(self, plan: RemovalPlan) -> None:
        from backapp_plugins.archivers.targz import cleaning

        cleaning.remove(self._place, plan)

    @override
    def plan_clean_up(self, options: CleanUpOptions = CleanUpOptions()) -> CleanUpPlan:
        from backapp_plugins.archivers.targz import cleaning

        return cleaning.plan_clean_up(self._place, options)

    @override
    def clean_up(self, plan: CleanUpPlan) -> CleanUpPlan:
        from backapp_plugins.archivers.targz import cleaning

        return cleaning.clean_up(self._place, plan)

    @override
    def stats(self, snapshots: Sequence[Snapshot]) -> RepositoryStats:
        objects = [info.size_bytes for info in self._place.transport.list()]
        return RepositoryStats(
            snapshots=len(self._place.record_names()),
            objects=len(objects),
            stored_bytes=sum(objects),
            restore_bytes=sum(snapshot.counts.processed_bytes for snapshot in snapshots),
            restore_files=sum(snapshot.counts.files for snapshot in snapshots),
        )

    @override
    def close(self) -> None:
        self._place.transport.close()

    def _reader(self, snapshot: Snapshot) -> "SnapshotReader":
        from backapp_plugins.archivers.targz.restoring import SnapshotReader

        return SnapshotReader(self._place, self._place.record(snapshot.id))
