"""One backup: an archive of what changed, a manifest of everything, a record that publishes."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import final

from backapp_core.plugin_api import (
    BackupOptions,
    BackupResult,
    Compression,
    Counts,
    DamagedRepository,
    InputError,
    Level,
    LogLine,
    ObjectMissing,
    RepositoryLocked,
    Scanner,
    SnapshotSaved,
    TransportError,
    WrongPassword,
)
from backapp_plugins.archivers.targz import layout, locks
from backapp_plugins.archivers.targz.archive_writer import ArchiveWriter, SentObject
from backapp_plugins.archivers.targz.channel import ChannelClosed
from backapp_plugins.archivers.targz.collector import Collector
from backapp_plugins.archivers.targz.gzip_members import MEMBER_BYTES, compressor
from backapp_plugins.archivers.targz.layout import ArchiveRef, Record, StoredObject
from backapp_plugins.archivers.targz.manifest import MOST_MEMBERS, Reader, encode_head
from backapp_plugins.archivers.targz.manifest_writer import ManifestWriter
from backapp_plugins.archivers.targz.parent import Parent, ParentWalk, next_number, reason_for_full
from backapp_plugins.archivers.targz.place import Place

_LEVELS = {
    Compression.OFF: 0,
    Compression.FASTEST: 0,
    Compression.BETTER: 3,
    Compression.MAX: 3,
}
"""Of gzip members; otherwise it is the one that the repository was created with."""


@final
class BackupRun:
    """Carries out one backup into the repository at ``place``."""

    def __init__(self, place: Place, scanner: Scanner, options: BackupOptions) -> None:
        self._place = place
        self._scanner = scanner
        self._options = options
        self._taken_at = scanner.began_at or place.surroundings.clock.now()
        self._written: list[tuple[str, int]] = []

    def run(self) -> BackupResult:
        """Do it all; the snapshot is published when this returns.

        Raises:
            RepositoryLocked: If the lock was lost; nothing is published then, or the listeners are
                told what cannot be taken back.
        """
        place = self._place
        with ExitStack() as stack:
            require_lock = stack.enter_context(
                locks.hold(place.transport, place.surroundings, is_exclusive=False)
            )
            parent = self._find_parent()
            if parent is not None:
                stack.callback(parent.stream.close)
            pool = stack.enter_context(ThreadPoolExecutor(place.surroundings.threads, "gzip"))
            try:
                stored = self._store(parent, pool, stack)
                require_lock()
                if isinstance(stored, BackupResult):
                    self._take_back()  # parts of files that could not be read to their ends
                    return stored
                record, manifest_chunks = stored
                self._require_archives(record)
                place.surroundings.cancel.check()
            except BaseException:
                self._take_back()
                raise
            data = layout.encode(record)
            snapshot_id = sha256(data).hexdigest()
            self._put_record(layout.record_name(snapshot_id), data)
            try:
                require_lock()
            except RepositoryLocked:
                # This machine slept, and whoever took it for dead may have removed what is needed.
                self._unpublish(layout.record_name(snapshot_id))
                raise
            place.cache.keep(record, manifest_chunks())
        snapshot = layout.snapshot_of(record, snapshot_id)
        place.surroundings.events(SnapshotSaved(snapshot))
        return BackupResult(snapshot, tuple(self._written))

    def _store(
        self, parent: Parent | None, pool: ThreadPoolExecutor, stack: ExitStack
    ) -> tuple[Record, Callable[[], Iterator[bytes]]] | BackupResult:
        """Store archive and manifest; where nothing changed and that is skipped, return so.

        Raises:
            InputError: If more changed than one archive has room for.
        """
        place = self._place
        run = layout.run_name(
            self._taken_at, place.surroundings.random_bytes(8), is_full=parent is None
        )
        chosen = place.surroundings.compression
        level = _LEVELS.get(chosen, place.config.compression_level)
        compress = compressor(place.codec, level)
        archive = ArchiveWriter(pool, compress)
        manifest = ManifestWriter(pool, compress)
        stack.callback(manifest.close)
        reader = Reader(parent.stream, name=parent.record.manifest.name) if parent else None
        old_archives = parent.record.archives if parent else ()
        number = next_number(old_archives)
        collector = Collector(
            self._scanner,
            place.surroundings,
            ParentWalk(reader),
            archive,
            manifest,
            archive_number=number,
            rereads_all=self._options.rereads_all,
            expected=_expected(parent),
            reports_files=self._options.reports_files,
        )
        added = self._send_archive(
            layout.archive_name(run, is_encrypted=place.config.info.is_encrypted),
            number,
            archive,
            collector,
            parent,
        )
        if len(archive.member_sizes) > MOST_MEMBERS:
            raise InputError(
                "more than 64 TiB changed, too much for one archive; back up parts of it"
            )
        if parent is not None and self._skips(parent, collector):
            self._require_archives(parent.record)
            snapshot = layout.snapshot_of(parent.record, parent.id)
            return BackupResult(snapshot, (), self._counts(collector, stored_bytes=0))
        archives = (*old_archives, *([added] if added else []))
        used = tuple(ref for ref in archives if ref.number in manifest.archives or ref is added)
        sizes = reader.archives if reader else {}
        head = encode_head(
            (
                (
                    ref.number,
                    ref.name,
                    archive.member_sizes if ref is added else sizes[ref.number][1],
                )
                for ref in used
            ),
            member_bytes=MEMBER_BYTES,
        )
        chunks = partial(manifest.chunks, head)
        sent = SentObject()
        name = layout.manifest_name(run, is_encrypted=place.config.info.is_encrypted)
        with closing(place.envelope.seal(chunks())) as sealed:
            sent.send(place.transport, name, sealed)
        self._written.append((name, sent.size_bytes))
        stored = StoredObject(name, sent.size_bytes, sent.sha256)
        return self._record(
            parent, stored, used, added, collector, content_hash=_hash_of(chunks())
        ), chunks

    def _send_archive(
        self,
        name: str,
        number: int,
        archive: ArchiveWriter,
        collector: Collector,
        parent: Parent | None,
    ) -> ArchiveRef | None:
        def collect() -> None:
            error: BaseException | None = None
            try:
                collector.run()
                if parent is not None and self._skips(parent, collector):
                    archive.drop()
            except ChannelClosed:
                return
            except BaseException as caught:  # noqa: BLE001  # carried over to the sending thread, which raises it
                error = caught
            try:
                archive.finish(error)
            except ChannelClosed:
                return

        thread = threading.Thread(target=collect, name="collect", daemon=True)
        thread.start()
        with ExitStack() as stack:
            stack.callback(thread.join)
            stack.callback(archive.abandon)
            chunks = self._until_cancelled(archive.chunks())
            first = next(chunks, None)
            if first is None:
                return None
            sealed = stack.enter_context(
                closing(self._place.envelope.seal(chain((first,), chunks)))
            )
            # After a failure all threads are still at work: they are told before one is waited for.
            stack.callback(archive.abandon)
            sent = SentObject()
            sent.send(self._place.transport, name, sealed)
        self._written.append((name, sent.size_bytes))
        return ArchiveRef(name=name, size=sent.size_bytes, sha256=sent.sha256, number=number)

    def _until_cancelled(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass chunks on; the last ones may still be sent long after everything was read."""
        for chunk in chunks:
            self._place.surroundings.cancel.check()
            yield chunk

    def _skips(self, parent: Parent, collector: Collector) -> bool:
        """Say of a scan that is over whether it gives no reason to make a snapshot."""
        return (
            self._options.skips_unchanged
            and not collector.changes.has_any
            and parent.record.roots == layout.roots_to_text(self._scanner.roots)
        )

    def _counts(self, collector: Collector, *, stored_bytes: int) -> Counts:
        tally = collector.tally
        return Counts(
            files_new=tally.files_new,
            files_changed=tally.files_changed,
            files_unmodified=tally.files_unmodified,
            directories=tally.directories,
            others=tally.others,
            problems=tally.problems + self._scanner.problems,
            processed_bytes=tally.processed_bytes,
            read_bytes=tally.read_bytes,
            stored_bytes=stored_bytes,
        )

    def _record(
        self,
        parent: Parent | None,
        manifest: StoredObject,
        archives: tuple[ArchiveRef, ...],
        added: ArchiveRef | None,
        collector: Collector,
        *,
        content_hash: str,
    ) -> Record:
        added_bytes = added.size if added else 0
        counts = self._counts(collector, stored_bytes=added_bytes + manifest.size)
        return Record(
            taken_at=self._taken_at,
            hostname=self._options.hostname,
            username=self._options.username,
            roots=layout.roots_to_text(self._scanner.roots),
            manifest=manifest,
            manifest_sha256=content_hash,
            archives=archives,
            program=self._options.program,
            tags=tuple(sorted(set(self._options.tags))),
            parent=parent.id if parent else None,
            increments=parent.record.increments + 1 if parent else 0,
            full_bytes=parent.record.full_bytes if parent else added_bytes,
            increment_bytes=parent.record.increment_bytes + added_bytes if parent else 0,
            counts=layout.counts_to_plain(counts),
        )

    def _put_record(self, name: str, data: bytes) -> None:
        self._place.transport.put(name, [data], size_bytes=len(data))
        self._written.append((name, len(data)))

    def _take_back(self) -> None:
        """Delete what was stored for a snapshot that nothing names: a full disk wants it back."""
        for name, _ in self._written:
            try:
                self._place.transport.delete(name)
            except TransportError as error:
                self._say(Level.WARNING, f"{name} is left for prune to remove: {error.message}")

    def _unpublish(self, name: str) -> None:
        try:
            self._place.transport.delete(name)
        except TransportError as error:
            self._say(
                Level.WARNING,
                f"{name} may need what others removed, and cannot be taken back: {error.message}; "
                "have the repository checked",
            )

    def _require_archives(self, record: Record) -> None:
        """Refuse to publish a snapshot whose older archives went away while it was made.

        Raises:
            DamagedRepository: If one changed its size.
        """
        for ref in record.archives:
            size = self._place.transport.stat(ref.name).size_bytes
            if size != ref.size:
                raise DamagedRepository(
                    f"{ref.name} has {size} bytes and not {ref.size}; run the backup again"
                )

    def _find_parent(self) -> Parent | None:
        if self._options.is_full:
            return None
        found = self._place.parent_record(self._options, layout.roots_to_text(self._scanner.roots))
        if found is None:
            return None
        snapshot_id, record = found
        if reason := reason_for_full(record, self._place.config):
            self._say(Level.INFO, f"a new full backup begins: {reason}")
            return None
        try:
            self._refuse_damaged(record)
            return Parent(snapshot_id, record, self._place.open_manifest(record))
        except WrongPassword:
            reason = (
                "the local cache with the list of files is lost, "
                "and encrypted lists cannot be read without an identity"
            )
        except (DamagedRepository, ObjectMissing) as error:
            reason = f"the last backup cannot be built on: {error.message}"
        self._say(Level.WARNING, f"a new full backup begins: {reason}")
        return None

    def _refuse_damaged(self, record: Record) -> None:
        """Look whether the archives of a chain are fit to be built on.

        Raises:
            DamagedRepository: If one is missing, has another size, or was found damaged here.
        """
        known = self._place.damage.known()
        there = {info.name: info.size_bytes for info in self._place.transport.list(layout.ARCHIVES)}
        for ref in record.archives:
            if there.get(ref.name) != ref.size:
                raise DamagedRepository(f"{ref.name} is missing or was altered")
            if ref.name in known:
                raise DamagedRepository(f"{ref.name} was found damaged")

    def _say(self, level: Level, text: str) -> None:
        self._place.surroundings.events(LogLine(level, text))


def _expected(parent: Parent | None) -> tuple[int, int] | None:
    if parent is None:
        return None
    counts = layout.snapshot_of(parent.record, parent.id).counts
    return counts.files, counts.processed_bytes


def _hash_of(chunks: Iterator[bytes]) -> str:
    hasher = sha256()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()
