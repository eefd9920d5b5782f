"""Copies snapshots from another repository of this format, blob by blob.

Blobs are verified and sealed with the other key; they are compressed again only if they never were.
Trees are copied as they are, whoever wrote them.
"""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Any, final

import msgspec
import numpy as np

from backapp_core.plugin_api import DamagedRepository, InputError, Snapshot, SnapshotCopy, Verb
from backapp_plugins.archivers.restic.access.holding import Hold
from backapp_plugins.archivers.restic.format.blobs import BlobBroken, Encoded
from backapp_plugins.archivers.restic.format.crypto import SealBroken
from backapp_plugins.archivers.restic.format.go_times import time_of
from backapp_plugins.archivers.restic.format.layout import (
    SEAL_BYTES,
    WRITTEN_VERSION,
    BlobKind,
)
from backapp_plugins.archivers.restic.format.snapshots import (
    SnapshotRecord,
    decode_snapshot,
    rewritten,
)
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.listing import all_records, find_record
from backapp_plugins.archivers.restic.moved_bytes import MovedBytes
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.needs import NeedsWalk
from backapp_plugins.archivers.restic.reading.blob_reader import BlobReader
from backapp_plugins.archivers.restic.reading.sealed_blobs import SealedBlob, sealed_blobs
from backapp_plugins.archivers.restic.reading.spans import Span, spans
from backapp_plugins.archivers.restic.writing.publishing import publish
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

_PUBLISHED_AFTER_BYTES = 256 << 20
"""Snapshots wait for so much, so that many small ones do not make a pack each."""
_COMPARED = ("tree", "hostname", "username", "uid", "gid", "paths", "excludes", "tags")
"""What a copy has in common with its source, beside the time."""


def copy_snapshots(
    source: Place, target: Place, snapshots: Sequence[Snapshot]
) -> Sequence[SnapshotCopy]:
    """Copy snapshots, the oldest first, and return what stands for each in the target.

    A snapshot that was copied before, or was copied from there, is not copied again, nor is what
    was copied before an interruption. Each is listed once all it needs is there.

    Raises:
        InputError: If the target is of a version that is only read.
        DamagedRepository: If what a snapshot needs is lost; those before it may be copied already.
        RepositoryLocked: If another process excludes this.
    """
    if target.config.version < WRITTEN_VERSION:
        raise InputError(
            f"the repository at {target.transport.address} has version {target.config.version} of "
            "the format, which is only read; copy into a new one"
        )
    with source.hold_to_read(), target.hold(is_exclusive=False) as hold:
        records = {one.id: find_record(source, one.id) for one in snapshots}
        index = target.load_index()
        with BlobSaver(target, index, hold.check) as saver:
            copy = _Copy(source, target, index, saver, hold)
            for record in sorted(records.values(), key=lambda one: one.snapshot.taken_at):
                copy.add(record)
            copy.publish()
            return copy.done


@final
class _Copy:
    def __init__(
        self, source: Place, target: Place, there: Index, saver: BlobSaver, hold: Hold
    ) -> None:
        self._source = source
        self._target = target
        self._saver = saver
        self._hold = hold
        index = source.load_index()
        self._table = index.table()
        self._reader = BlobReader(source, index)
        # What is lost is found when it is read.
        self._walk = NeedsWalk(source, index, np.ones(len(self._table), np.bool_))
        self._is_there = self._known_rows(there)
        self._moved = MovedBytes(target.surroundings, Verb.COPY)
        self._known: dict[str, list[SnapshotRecord]] = {}
        for record in all_records(target):
            self._remember(record)
        self._waiting: list[SnapshotRecord] = []
        self._published_bytes = 0
        self.done: list[SnapshotCopy] = []
        """What was copied and published, or stood there before."""

    def add(self, record: SnapshotRecord) -> None:
        """Copy what a snapshot needs, unless a copy of it is there.

        Raises:
            DamagedRepository: If something that it needs is lost.
        """
        original = record.snapshot.original_id or record.snapshot.id
        wanted = _likeness(record)
        for other in self._known.get(original, ()):
            if _likeness(other) == wanted:
                self.done.append(SnapshotCopy(record.snapshot, other.snapshot, is_new=False))
                return
        current = record.snapshot.short_id.encode()
        self._moved.begin(current=current)
        before = self._walk.needed.copy()
        self._walk.run({bytes.fromhex(record.snapshot.id): record.tree})
        for lost in self._walk.lost[:1]:
            raise DamagedRepository(
                f"snapshot {record.snapshot.short_id} is not copied, for it needs "
                f"{lost.kind.name.lower()} blob {lost.blob_id.hex()}, which is lost: {lost.reason}"
            )
        fresh = self._walk.needed & ~before & ~self._is_there
        length = self._table.columns.length
        total_bytes = int(length[fresh].sum(dtype=np.int64))
        self._moved.begin(total_bytes, current=current)
        parts = spans(self._table, np.flatnonzero(fresh))
        for _ in in_threads(self._source, self._copy_span, parts):
            pass
        self._moved.tell()
        self._waiting.append(record)
        if self._saver.packed_bytes - self._published_bytes >= _PUBLISHED_AFTER_BYTES:
            self.publish()

    def publish(self) -> None:
        """List the snapshots that have all they need.

        Raises:
            RepositoryLocked: If the lock was lost.
        """
        self._saver.finish()
        self._published_bytes = self._saver.packed_bytes
        self._reader.report()
        documents = [
            rewritten(one, original=one.snapshot.original_id or one.snapshot.id, parent=None)
            for one in self._waiting
        ]
        stored = publish(self._target, self._hold, documents)
        for record, document, (new_id, _) in zip(self._waiting, documents, stored, strict=True):
            made = decode_snapshot(document, new_id)
            self._remember(made)
            self.done.append(SnapshotCopy(record.snapshot, made.snapshot, is_new=True))
        self._waiting.clear()

    def _known_rows(self, there: Index) -> Flags:
        """Return which blobs of the source the target has, in packs that are to stay."""
        table, columns = there.table(), self._table.columns
        known = np.zeros(len(self._table), np.bool_)
        for kind in BlobKind:
            rows = table.rows_of(kind, columns.blob_id[columns.rows_of_kind(kind)])
            is_known = rows >= 0
            packs = table.columns.pack_number[rows[is_known]]
            is_known[is_known] = ~table.columns.pack_is_marked[packs]
            known[columns.rows_of_kind(kind)] = is_known
        return known

    def _remember(self, record: SnapshotRecord) -> None:
        snapshot = record.snapshot
        for one in {snapshot.original_id or snapshot.id, snapshot.id}:
            self._known.setdefault(one, []).append(record)

    def _copy_span(self, span: Span) -> None:
        for blob in sealed_blobs(self._source, self._table, span):
            blob_id, _, length, uncompressed = blob.wanted
            size_bytes = uncompressed or length - SEAL_BYTES
            self._saver.save_as(blob.kind, blob_id, size_bytes, partial(self._resealed, blob))
            self._moved.add(len(blob.sealed))

    def _resealed(self, blob: SealedBlob) -> Encoded:
        """Return a blob sealed with the other key, after proving that it opens.

        Raises:
            DamagedRepository: If it is lost.
        """
        blob_id, _, _, uncompressed = blob.wanted
        ours, theirs = self._target.codec, self._source.codec
        try:
            plain = theirs.sealer.open_view(blob.sealed)
            if uncompressed:
                sealed = ours.sealer.seal_view(plain)
                ours.decode(sealed, uncompressed, blob_id)
                return Encoded(sealed, uncompressed)
            if sha256(plain).digest() == blob_id:
                return self._target.codec_for(blob.kind).encode_content(plain, blob_id)
            reason = "its content has another hash"
        except (SealBroken, BlobBroken) as error:
            reason = blob.reason or str(error)
        content = self._reader.read_again(blob.kind, blob.pack_id, blob.wanted, reason)
        if isinstance(content, DamagedRepository):
            raise content
        return self._target.codec_for(blob.kind).encode_content(content, blob_id)


def _likeness(record: SnapshotRecord) -> tuple[object, ...]:
    """Return what two records of the same snapshot have in common."""
    fields = msgspec.json.decode(record.document, type=dict[str, Any])
    return (time_of(fields["time"]), *(fields.get(key) or None for key in _COMPARED))
