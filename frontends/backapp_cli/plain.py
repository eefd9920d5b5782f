"""Snapshots, nodes and figures as fields for programs; named as in restic where it has them."""

from datetime import UTC, datetime

from backapp_cli.show import iso_time
from backapp_core.model.entries import Node, format_of_kind
from backapp_core.model.names import to_text
from backapp_core.model.repositories import Finding
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Counts, Snapshot

Fields = dict[str, object]


def snapshot_fields(snapshot: Snapshot) -> Fields:
    """Return what is known of a snapshot."""
    fields: Fields = {
        "time": iso_time(snapshot.taken_at),
        "paths": [to_text(root) for root in snapshot.roots],
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "tags": list(snapshot.tags),
        "id": snapshot.id,
        "short_id": snapshot.short_id,
        "program_version": snapshot.program,
        "summary": count_fields(snapshot.counts) if snapshot.counts.are_known else None,
    }
    if snapshot.parent_id:
        fields["parent"] = snapshot.parent_id
    if snapshot.original_id:
        fields["original"] = snapshot.original_id
    return fields


def count_fields(counts: Counts) -> Fields:
    """Return what a backup counted."""
    return {
        "files_new": counts.files_new,
        "files_changed": counts.files_changed,
        "files_unmodified": counts.files_unmodified,
        "dirs": counts.directories,
        "others": counts.others,
        "error_count": counts.problems,
        "total_files_processed": counts.files,
        "total_bytes_processed": counts.processed_bytes,
        "bytes_read": counts.read_bytes,
        "data_added": counts.stored_bytes,
    }


def node_fields(node: Node) -> Fields:
    """Return what is known of an entry of a snapshot."""
    fields: Fields = {
        "name": to_text(node.name),
        "type": str(node.kind),
        "path": to_text(node.path),
        "uid": node.uid,
        "gid": node.gid,
        "user": node.user,
        "group": node.group,
        "size": node.size_bytes,
        "mode": node.mode,
        "permissions": permissions(node),
        "mtime": time_of_ns(node.mtime_ns),
        "ctime": time_of_ns(node.ctime_ns),
        "inode": node.inode,
        "links": node.links,
    }
    if node.target:
        fields["linktarget"] = to_text(node.target)
    if node.sha256:
        fields["sha256"] = node.sha256
    if node.flags:
        fields["flags"] = sorted(node.flags)
    return fields


def finding_fields(finding: Finding) -> Fields:
    """Return what a check found."""
    return {
        "severity": str(finding.severity),
        "object": finding.object_name,
        "message": finding.message,
        "snapshots": list(finding.snapshot_ids),
        "paths": [to_text(path) for path in finding.paths],
    }


def run_fields(run: Run) -> Fields:
    """Return what is known of a run."""
    fields: Fields = {
        "id": run.id,
        "job": run.job_name,
        "state": str(run.state),
        "has_warnings": run.has_warnings,
        "requested_at": iso_time(run.requested_at),
        "due_at": iso_time(run.due_at),
        "started_at": iso_time(run.started_at),
        "ended_at": iso_time(run.ended_at),
        "snapshot_id": run.snapshot_id,
        "error": run.error,
    }
    if run.counts is not None:
        fields["summary"] = count_fields(run.counts)
    return fields


def permissions(node: Node) -> str:
    """Return type and rights as ``ls -l`` writes them."""
    import stat

    return stat.filemode(format_of_kind(node.kind) | node.mode)


def time_of_ns(moment_ns: int) -> str:
    """Return a file's time as ISO 8601 with nine digits; bare seconds where the calendar ends."""
    seconds, rest = divmod(moment_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds}.{rest:09}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
