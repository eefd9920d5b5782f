"""One backup: packs of what is new, an index of them, and last the snapshot that publishes."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import final

from attrs import frozen

from backapp_core.plugin_api import (
    BackupOptions,
    BackupResult,
    InputError,
    Level,
    RepositoryLocked,
    Scanner,
    Snapshot,
    SnapshotSaved,
)
from backapp_plugins.archivers.restic import listing
from backapp_plugins.archivers.restic.access.holding import Hold
from backapp_plugins.archivers.restic.backup import small_files
from backapp_plugins.archivers.restic.backup.collecting import Collector
from backapp_plugins.archivers.restic.backup.contents import ContentSaver
from backapp_plugins.archivers.restic.backup.examining import Examiner
from backapp_plugins.archivers.restic.backup.folder_memory import (
    FolderMemory,
    memory_name,
    open_memory,
)
from backapp_plugins.archivers.restic.backup.roots import RootWatch
from backapp_plugins.archivers.restic.backup.small_file_reading import SmallFileReading
from backapp_plugins.archivers.restic.backup.small_files import SmallFileSaver
from backapp_plugins.archivers.restic.chunking.chunker import slowness
from backapp_plugins.archivers.restic.format.layout import (
    INDEX,
    SNAPSHOTS,
    WRITTEN_VERSION,
    BlobKind,
)
from backapp_plugins.archivers.restic.format.snapshots import (
    SnapshotRecord,
    Totals,
    decode_snapshot,
    encode_snapshot,
)
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.workers.crew import Crew, may_be_started
from backapp_plugins.archivers.restic.writing.publishing import publish
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

_RACY = timedelta(seconds=2)
"""A file that changed so shortly before it was read may change again without its times telling."""


@frozen
class Parent:
    """The snapshot that a backup is compared with."""

    record: SnapshotRecord
    memory: FolderMemory | None


@final
class BackupRun:
    """Carries out one backup into the repository at ``place``."""

    def __init__(self, place: Place, scanner: Scanner, options: BackupOptions) -> None:
        self._place = place
        self._scanner = scanner
        self._options = options
        self._started_at = scanner.began_at or place.surroundings.clock.now()

    def run(self) -> BackupResult:
        """Do it all; the snapshot is published when this returns.

        Raises:
            InputError: If the repository is of a version that is not written any more.
            SourceNotFound: If none of the roots exists.
            SnapshotNotFound: If the options name a parent that does not exist.
            RepositoryLocked: If somebody removes or cleans up meanwhile.
            DamagedRepository: If the index cannot be read.
        """
        place = self._place
        if not place.config.version == WRITTEN_VERSION:
            raise InputError(
                f"the repository at {place.transport.address} has format {place.config.version}, "
                "which is read but not written any more; make a new one with 'backapp init' and "
                "bring its snapshots over with 'backapp copy'"
            )
        with ExitStack() as stack:
            require_lock = stack.enter_context(place.hold(is_exclusive=False))
            # Snapshots are listed before the index is read: what they need is in it, then.
            record = None if self._options.is_full else self._find_parent()
            index = place.load_index()
            parent = self._with_memory(record, index) if record is not None else None
            if text := slowness(place.config.chunker):
                place.say(Level.INFO, text)
            saver = stack.enter_context(BlobSaver(place, index, require_lock.check))
            roots = self._root_watch(parent)
            collector, root = self._collect(saver, index, parent, roots, check=require_lock.check)
            is_same = roots is not None and roots.are_same
            if not (roots and is_same and saver.has_no_more_than(roots.trees_above)):
                saver.finish()
            place.surroundings.cancel.check()
            self._require_index(index.files)
            if parent is not None and is_same:
                require_lock()  # what was compared with is there as long as nobody removes anything
                result = self._skipped(collector, saver, parent)
                if root == parent.record.tree:  # else the memory would name trees that nobody has
                    self._keep_memory(collector, result.snapshot, index)
                return result
            result = self._publish(require_lock, collector, saver, parent, root)
            self._keep_memory(collector, result.snapshot, index)
        place.surroundings.events(SnapshotSaved(result.snapshot))
        return result

    def _root_watch(self, parent: Parent | None) -> RootWatch | None:
        """Return what finds out whether anything changed, if somebody wants to know that."""
        if parent is None or not self._options.skips_unchanged:
            return None
        roots = self._scanner.roots
        return RootWatch(roots) if parent.record.snapshot.roots == roots else None

    def _collect(
        self,
        saver: BlobSaver,
        index: Index,
        parent: Parent | None,
        roots: RootWatch | None,
        *,
        check: Callable[[], None],
    ) -> tuple[Collector, bytes]:
        place, options = self._place, self._options
        around = place.surroundings
        with ThreadPoolExecutor(around.threads, "encode") as pool, ExitStack() as stack:
            crew = stack.enter_context(self._crew()) if self._has_use_for_workers() else None
            contents = ContentSaver(
                saver,
                SmallFileSaver(saver, crew, around.cancel),
                pool,
                around.cancel,
                cutting=place.config.chunker,
                polynomial=place.config.chunker_polynomial,
            )
            examiner = Examiner(
                self._scanner,
                around,
                contents,
                index,
                self._tree_reader(index),
                unchanged_before_ns=_nanoseconds(parent) if parent else 0,
                rereads_all=options.rereads_all,
                racy_from_ns=int((self._started_at - _RACY).timestamp() * 1e9),
                reports_files=options.reports_files,
            )
            collector = Collector(
                self._scanner,
                around,
                saver,
                examiner,
                old_root=parent.record.tree if parent else None,
                memory=parent.memory if parent else None,
                roots=roots,
                check_lock=check,
                threads=around.threads + (crew.size if crew else 0),
                rereads_all=options.rereads_all,
                reports_files=options.reports_files,
                expected=_expected(parent),
            )
            return collector, collector.run()

    def _has_use_for_workers(self) -> bool:
        return self._scanner.is_read_elsewhere and may_be_started(self._place.surroundings)

    def _crew(self) -> Crew:
        around = self._place.surroundings
        service = SmallFileReading(self._place.key.master, around.compression)
        return Crew(
            service, around.threads, around.cancel.check, start_at=small_files.WORTH_WORKERS_BYTES
        )

    def _tree_reader(self, index: Index) -> Callable[[bytes], bytes]:
        return lambda tree: self._place.read_blob(index, BlobKind.TREE, tree)

    def _find_parent(self) -> SnapshotRecord | None:
        options = self._options
        if options.parent_id is not None:
            return listing.find_record(self._place, options.parent_id)
        roots = self._scanner.roots
        fitting = [
            one
            for one in listing.all_records(self._place)
            if one.snapshot.hostname == options.hostname
            and one.snapshot.roots == roots
            and one.snapshot.taken_at <= self._started_at
        ]
        return fitting[-1] if fitting else None

    def _with_memory(self, record: SnapshotRecord, index: Index) -> Parent:
        snapshot_id = bytes.fromhex(record.snapshot.id)
        return Parent(record, open_memory(self._memory_file, snapshot_id, index.files))

    @property
    def _memory_file(self) -> Path:
        name = memory_name(self._options.hostname, self._scanner.roots)
        return self._place.cache_folder / name

    def _keep_memory(self, collector: Collector, snapshot: Snapshot, index: Index) -> None:
        try:
            collector.notes.keep(self._memory_file, bytes.fromhex(snapshot.id), index.files)
        except OSError as error:
            self._place.say_uncached(error)

    def _require_index(self, relied_on: frozenset[bytes]) -> None:
        """Refuse to publish what may need packs that somebody removed in spite of the lock.

        Raises:
            RepositoryLocked: If an index object that was read, or written, is gone.
        """
        there = {index_id for index_id, _ in self._place.listed(INDEX)}
        if not relied_on <= there:
            raise RepositoryLocked(
                f"{self._place.transport.address} was cleaned up while this backup ran, so parts "
                "that it relies on may be gone; run it again"
            )

    def _skipped(self, collector: Collector, saver: BlobSaver, parent: Parent) -> BackupResult:
        stored_bytes = sum(size for _, size in saver.objects)
        counts = collector.tally.counts(
            scan_problems=self._scanner.problems, stored_bytes=stored_bytes
        )
        return BackupResult(parent.record.snapshot, tuple(saver.objects), counts)

    def _publish(
        self,
        require_lock: Hold,
        collector: Collector,
        saver: BlobSaver,
        parent: Parent | None,
        root: bytes,
    ) -> BackupResult:
        place, options, tally = self._place, self._options, collector.tally
        stored_bytes = sum(size for _, size in saver.objects)
        totals = Totals(
            started_at=self._started_at,
            ended_at=place.surroundings.clock.now(),
            folders_new=tally.folders_new,
            folders_changed=tally.folders_changed,
            folders_unmodified=tally.directories - tally.folders_new - tally.folders_changed,
            data_blobs=saver.blobs[BlobKind.DATA],
            tree_blobs=saver.blobs[BlobKind.TREE],
            new_bytes=saver.new_bytes,
            stored_bytes=saver.packed_bytes,
        )
        snapshot = Snapshot(
            id="",
            taken_at=self._started_at,
            hostname=options.hostname,
            username=options.username,
            roots=self._scanner.roots,
            tags=tuple(sorted(set(options.tags))),
            parent_id=parent.record.snapshot.id if parent else None,
            program=options.program,
            counts=tally.counts(scan_problems=self._scanner.problems, stored_bytes=stored_bytes),
        )
        document = encode_snapshot(snapshot, root, totals, uid=os.getuid(), gid=os.getgid())
        ((snapshot_id, size),) = publish(place, require_lock, [document])
        written = decode_snapshot(document, snapshot_id)
        objects = (*saver.objects, (SNAPSHOTS + snapshot_id.hex(), size))
        return BackupResult(written.snapshot, objects)


def _nanoseconds(parent: Parent) -> int:
    return int((parent.record.snapshot.taken_at - _RACY).timestamp() * 1e9)


def _expected(parent: Parent | None) -> tuple[int, int] | None:
    if parent is None:
        return None
    counts = parent.record.snapshot.counts
    return (counts.files, counts.processed_bytes) if counts.files else None
