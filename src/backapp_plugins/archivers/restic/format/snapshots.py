"""Snapshots: one JSON document each, in restic's fields and order.

What restic has no field for stands in one more, ``backapp``, which others pass over. When restic
rewrites such a snapshot it is lost: counts of what restic does not count, and the bytes of roots
that are no UTF-8, which are called by U+FFFD from then on; what was backed up stays as it is.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

import msgspec
from attrs import field, frozen

from backapp_core.plugin_api import Counts, Snapshot, to_line
from backapp_plugins.archivers.restic.format.go_json import escaped, is_utf8, mended, valid_text
from backapp_plugins.archivers.restic.format.go_times import local_times, offset_of, time_of
from backapp_plugins.archivers.restic.format.layout import ID_BYTES

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_MICROSECOND = 1000
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Id: TypeAlias = Annotated[str, msgspec.Meta(pattern=rf"\A[0-9a-f]{{{2 * ID_BYTES}}}\Z")]


class SnapshotBroken(ValueError):
    """What should be a snapshot is none."""


@frozen
class Totals:
    """What restic keeps of a backup's figures beyond those of the model."""

    started_at: datetime
    ended_at: datetime
    folders_new: int = 0
    folders_changed: int = 0
    folders_unmodified: int = 0
    data_blobs: int = 0
    """Blobs that were added."""
    tree_blobs: int = 0
    new_bytes: int = 0
    """Content of the blobs that were added."""
    stored_bytes: int = 0
    """What was added to the repository."""


@frozen
class SnapshotRecord:
    """A snapshot as it was read."""

    snapshot: Snapshot
    tree: bytes
    """Id of the root's tree."""
    document: bytes = field(repr=False)
    """All of it, with what only others understand."""


class _SummaryPart(msgspec.Struct):
    backup_start: str = ""
    backup_end: str = ""
    files_new: _Count = 0
    files_changed: _Count = 0
    files_unmodified: _Count = 0
    dirs_new: _Count = 0
    dirs_changed: _Count = 0
    dirs_unmodified: _Count = 0
    data_blobs: _Count = 0
    tree_blobs: _Count = 0
    data_added: _Count = 0
    data_added_packed: _Count = 0
    total_files_processed: _Count = 0
    total_bytes_processed: _Count = 0


class _OwnPart(msgspec.Struct, omit_defaults=True):
    others: _Count = 0
    problems: _Count = 0
    read_bytes: _Count = 0
    roots: list[bytes] | None = None
    """All roots, if one of them is no UTF-8."""


class _Document(msgspec.Struct, omit_defaults=True, kw_only=True):
    time: str
    parent: _Id | None = None
    tree: _Id
    paths: list[str] | None
    hostname: str = ""
    username: str = ""
    uid: int = 0
    gid: int = 0
    excludes: list[str] | None = None
    tags: list[str] | None = None
    original: _Id | None = None
    program_version: str = ""
    summary: _SummaryPart | None = None
    backapp: _OwnPart | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Document)
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode_snapshot(
    snapshot: Snapshot, tree: bytes, totals: Totals, *, uid: int = 0, gid: int = 0
) -> bytes:
    """Return the document of a new snapshot; its id is made of what is stored and not part of it.

    Args:
        snapshot: What it tells; its id is not read.
        tree: Id of the root's tree.
        totals: Figures that restic keeps.
        uid: Whose process made it; restic leaves out 0.
        gid: The group of that process.
    """
    time_text = local_times()
    return _encode(
        _Document(
            time=time_text(_to_ns(snapshot.taken_at)),
            parent=snapshot.parent_id,
            tree=tree.hex(),
            paths=[_path_text(root) for root in snapshot.roots],
            hostname=valid_text(snapshot.hostname),
            username=valid_text(snapshot.username),
            uid=uid,
            gid=gid,
            tags=[valid_text(tag) for tag in snapshot.tags] or None,
            original=snapshot.original_id,
            program_version=valid_text(snapshot.program),
            summary=_summary_part(totals, snapshot.counts, time_text),
            backapp=_own_part(snapshot),
        )
    )


def decode_snapshot(document: bytes, snapshot_id: bytes) -> SnapshotRecord:
    """Return the snapshot that a document tells of, whoever wrote it.

    Raises:
        SnapshotBroken: If it is none.
    """
    try:
        try:
            decoded = _decoder.decode(document)
        except (msgspec.MsgspecError, UnicodeError):
            document = mended(document)
            decoded = _decoder.decode(document)
        snapshot = Snapshot(
            id=snapshot_id.hex(),
            taken_at=_from_ns(time_of(decoded.time)),
            hostname=decoded.hostname,
            username=decoded.username,
            roots=_roots(decoded),
            tags=tuple(sorted(set(decoded.tags or ()))),
            parent_id=decoded.parent,
            original_id=decoded.original,
            program=decoded.program_version,
            counts=_counts(decoded),
            utc_offset_seconds=offset_of(decoded.time),
        )
        # A clock may show a year that Python has none for although UTC does not.
        _ = snapshot.taken_there_at
    except (ValueError, OverflowError, RecursionError) as error:
        raise SnapshotBroken(to_line(str(error))) from error
    return SnapshotRecord(snapshot, bytes.fromhex(decoded.tree), document)


def retagged(record: SnapshotRecord, tags: Sequence[str]) -> bytes:
    """Return the document of the same snapshot with other tags.

    What only others understand stays as it is. The id before the first such change is kept.
    """
    original = record.snapshot.original_id or record.snapshot.id
    return rewritten(record, original=original, tags=sorted(set(map(valid_text, tags))) or None)


def rewritten(record: SnapshotRecord, **changes: object) -> bytes:
    """Return the document of the same snapshot with other fields; None takes one away.

    What only others understand stays as it is.
    """
    fields: dict[str, bytes | msgspec.Raw] = {**_raw_decoder.decode(record.document)}
    for key, value in changes.items():
        fields[key] = _encode(value)
        if value is None:
            del fields[key]
    order = [key for key in _Document.__struct_fields__ if key in fields]
    order += [key for key in fields if key not in order]
    return b"{%b}" % b",".join(b"%b:%b" % (_encode(key), bytes(fields[key])) for key in order)


def _summary_part(totals: Totals, counts: Counts, time_text: Callable[[int], str]) -> _SummaryPart:
    return _SummaryPart(
        backup_start=time_text(_to_ns(totals.started_at)),
        backup_end=time_text(_to_ns(totals.ended_at)),
        files_new=counts.files_new,
        files_changed=counts.files_changed,
        files_unmodified=counts.files_unmodified,
        dirs_new=totals.folders_new,
        dirs_changed=totals.folders_changed,
        dirs_unmodified=totals.folders_unmodified,
        data_blobs=totals.data_blobs,
        tree_blobs=totals.tree_blobs,
        data_added=totals.new_bytes,
        data_added_packed=totals.stored_bytes,
        total_files_processed=counts.files,
        total_bytes_processed=counts.processed_bytes,
    )


def _own_part(snapshot: Snapshot) -> _OwnPart:
    counts = snapshot.counts
    return _OwnPart(
        others=counts.others,
        problems=counts.problems,
        read_bytes=counts.read_bytes,
        roots=None if all(map(is_utf8, snapshot.roots)) else list(snapshot.roots),
    )


def _counts(document: _Document) -> Counts:
    summary = document.summary
    if summary is None:
        return Counts()
    own = document.backapp or _OwnPart()
    return Counts(
        files_new=summary.files_new,
        files_changed=summary.files_changed,
        files_unmodified=summary.files_unmodified,
        directories=summary.dirs_new + summary.dirs_changed + summary.dirs_unmodified,
        others=own.others,
        problems=own.problems,
        processed_bytes=summary.total_bytes_processed,
        read_bytes=own.read_bytes,
        stored_bytes=summary.data_added_packed,
    )


def _roots(document: _Document) -> tuple[bytes, ...]:
    paths = document.paths or []
    own = document.backapp.roots if document.backapp else None
    # Somebody may have given it other paths meanwhile, and passed over what he did not know.
    if own is not None and [_path_text(root) for root in own] == paths:
        return tuple(sorted(set(own)))
    return tuple(sorted({path.encode() for path in paths}))


def _encode(value: object) -> bytes:
    return escaped(_encoder.encode(value))


def _path_text(root: bytes) -> str:
    return valid_text(root.decode("utf-8", "surrogateescape"))


def _to_ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * _NS_PER_MICROSECOND


def _from_ns(moment_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment_ns // _NS_PER_MICROSECOND)
