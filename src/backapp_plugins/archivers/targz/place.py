"""An opened repository without its verbs: transport, description, keys and records."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import IO, Any, final

from backapp_core.plugin_api import (
    BackupOptions,
    DamagedRepository,
    Keys,
    Level,
    LogLine,
    ObjectMissing,
    SnapshotNotFound,
    StorageFull,
    Surroundings,
    Transport,
    WrongPassword,
)
from backapp_plugins.archivers.targz import layout
from backapp_plugins.archivers.targz.cache import ManifestCache
from backapp_plugins.archivers.targz.damage import DamageNotes
from backapp_plugins.archivers.targz.envelope import Envelope
from backapp_plugins.archivers.targz.gzip_members import load_codec
from backapp_plugins.archivers.targz.layout import Config, Record
from backapp_plugins.archivers.targz.parent import open_compressed

_IN_MEMORY_BYTES = 4 << 20


@final
class Place:
    """An opened repository, without its verbs."""

    def __init__(
        self, transport: Transport, config: Config, keys: Keys, surroundings: Surroundings
    ) -> None:
        self.transport = transport
        self.config = config
        self.surroundings = surroundings
        self.envelope = Envelope(config.recipients, keys, address=transport.address)
        self.cache = ManifestCache(surroundings, config.id)
        self.damage = DamageNotes(surroundings, config.id)
        self.codec: Any = load_codec()

    def records(self) -> list[tuple[str, Record]]:
        """Return id and record of every snapshot, oldest first, without those that were replaced.

        A record that cannot be read is reported and left out.
        """
        found = dict(self.all_records())
        for record in list(found.values()):
            if record.replaces:
                found.pop(record.replaces, None)
        return sorted(found.items(), key=lambda item: (item[1].taken_at, item[0]))

    def all_records(
        self,
        names: Iterable[str] | None = None,
        on_damage: Callable[[str, DamagedRepository], None] | None = None,
    ) -> Iterator[tuple[str, Record]]:
        """Yield id and record of what is there, replaced ones too, without what cannot be read.

        Args:
            names: Object names of the records; None for all.
            on_damage: Told of each that cannot be read; None reports it as an event.
        """
        for name in self.record_names() if names is None else names:
            try:
                yield self.read_record(name)
            except ObjectMissing:
                continue  # removed since it was listed
            except DamagedRepository as error:
                if on_damage is None:
                    self.surroundings.events(LogLine(Level.WARNING, error.message))
                else:
                    on_damage(name, error)

    def read_record(self, name: str) -> tuple[str, Record]:
        """Read a record, a second time if it is bad: one bad transfer is no damage.

        Raises:
            ObjectMissing: If it is not there.
            DamagedRepository: If it is altered.
        """
        try:
            return layout.decode_record(self.transport.read(name), name=name)
        except DamagedRepository:
            return layout.decode_record(self.transport.read(name), name=name)

    def record_names(self) -> list[str]:
        """Return the object names of all records, replaced ones among them."""
        listed = (info.name for info in self.transport.list(layout.SNAPSHOTS))
        return sorted(name for name in listed if layout.SNAPSHOT_NAME.fullmatch(name))

    def record(self, snapshot_id: str) -> Record:
        """Return one snapshot's record.

        Raises:
            SnapshotNotFound: If there is none.
            DamagedRepository: If it is altered.
        """
        name = layout.record_name(snapshot_id)
        try:
            return self.read_record(name)[1]
        except ObjectMissing as error:
            raise SnapshotNotFound(
                f"there is no snapshot {snapshot_id[:8]} at {self.transport.address}"
            ) from error

    def parent_record(
        self, options: BackupOptions, roots: tuple[str, ...]
    ) -> tuple[str, Record] | None:
        """Return the snapshot that a backup of these roots is compared with, None if there is none.

        Raises:
            SnapshotNotFound: If ``options`` name one that does not exist.
        """
        if options.parent_id is not None:
            return options.parent_id, self.record(options.parent_id)
        fitting = [
            (snapshot_id, record)
            for snapshot_id, record in self.records()
            if record.hostname == options.hostname and record.roots == roots
        ]
        return fitting[-1] if fitting else None

    def open_manifest(self, record: Record) -> IO[bytes]:
        """Return a snapshot's uncompressed manifest, verified before its first byte is used.

        Raises:
            DamagedRepository: If it is missing or altered.
            WrongPassword: If it is neither in the cache nor to be unsealed.
            StorageFull: If the temporary folder has no room for it.
        """
        cached = self.cache.find(record, record.manifest_sha256)
        if cached is not None:
            return open_compressed(cached, self.codec)
        try:
            return self._fetch_manifest(record)
        except DamagedRepository:
            return self._fetch_manifest(record)  # one bad transfer is no damage

    def _fetch_manifest(self, record: Record) -> IO[bytes]:
        spool: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115  # closed with the stream
            max_size=_IN_MEMORY_BYTES
        )
        hasher = sha256()
        try:
            for chunk in self.envelope.unseal(
                self.stored(record.manifest), name=record.manifest.name
            ):
                hasher.update(chunk)
                spool.write(chunk)
            spool.seek(0)
        except OSError as error:
            with suppress(OSError):  # what found no room is tried once more
                spool.close()
            raise StorageFull(
                f"the temporary folder {tempfile.gettempdir()} cannot be used: {error}"
            ) from error
        except WrongPassword:
            spool.close()
            for _ in self.stored(record.manifest):
                pass  # an altered envelope looks as if it were sealed to others
            raise
        except BaseException:
            spool.close()
            raise
        if hasher.hexdigest() != record.manifest_sha256:
            spool.close()
            raise DamagedRepository(
                f"{record.manifest.name} is damaged: its content differs from what was recorded"
            )
        return open_compressed(spool, self.codec)

    def opens(self, record: Record) -> bool:
        """Say whether the identities open what the snapshot's manifest was sealed to."""
        if self.envelope.has_opened:
            return True
        try:
            next(self.envelope.unseal(self.stored(record.manifest), name=record.manifest.name), b"")
        except (WrongPassword, DamagedRepository):
            return False
        return True

    def stored(self, stored: layout.StoredObject) -> Iterator[bytes]:
        """Yield an object's bytes as stored and verify them at the end.

        Raises:
            DamagedRepository: If it is missing, longer, shorter or altered; altered bytes were
                yielded before.
        """
        hasher = sha256()
        size = 0
        try:
            for chunk in self.transport.get(stored.name):
                hasher.update(chunk)
                size += len(chunk)
                yield chunk
        except ObjectMissing as error:
            raise DamagedRepository(f"{stored.name} is missing") from error
        if size != stored.size:
            raise DamagedRepository(
                f"{stored.name} is damaged: it has {size} bytes and not {stored.size}"
            )
        if hasher.hexdigest() != stored.sha256:
            raise DamagedRepository(
                f"{stored.name} is damaged: its hash differs from what was recorded"
            )
