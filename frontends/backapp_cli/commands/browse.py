"""What is in snapshots: list it, look for it, compare it."""

import os

import click

from backapp_cli.filters import complete_snapshot, filter_options, snapshot_argument
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.plain import node_fields, permissions, snapshot_fields
from backapp_cli.session import Session
from backapp_cli.show import local_time, local_time_of_ns
from backapp_cli.values import path_bytes
from backapp_core.errors import InputError
from backapp_core.model.changes import Change, DiffStats, SideStats
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.names import to_line, to_text
from backapp_core.model.quantities import count, size
from backapp_core.model.requests import FindRequest
from backapp_core.model.snapshots import Snapshot, SnapshotFilter


@click.command(
    cls=Command,
    examples="""
        backapp ls latest -r /srv/backup
        backapp ls --long latest /home/me -r /srv/backup
        backapp ls --recursive 1a2b3c4d /home/me /etc -r /srv/backup
    """,
)
@snapshot_argument()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=path_bytes)
@click.option("-l", "--long", "is_long", is_flag=True, help="Show rights, owner, size and time.")
@click.option("--recursive", is_flag=True, help="Go into the folders below each PATH.")
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def ls(
    session: Session,
    *,
    snapshot: str,
    paths: tuple[bytes, ...],
    is_long: bool,
    recursive: bool,
    snapshot_filter: SnapshotFilter,
) -> None:
    """List what is in a snapshot.

    Without a PATH everything is listed, or with SNAPSHOT:FOLDER all that is in FOLDER; with a PATH,
    what stands directly in it. Both are absolute, as on the machine. The filters choose among
    snapshots when SNAPSHOT is 'latest'.
    """
    name, _, folder = snapshot.partition(":")
    if folder:
        _refuse_two_ways(snapshot, paths)
    engine = session.engine
    with session.repository() as repository:
        found = engine.find_snapshot(repository, name, snapshot_filter)
        session.output.message("snapshot", snapshot_fields(found))
        for path in paths or (os.fsencode(folder),):
            nodes = engine.list_nodes(
                repository, found, under=path, recursive=recursive or not paths
            )
            for node in nodes:
                _show_node(session, node, is_long=is_long)


@click.command(
    cls=Command,
    examples="""
        backapp find '*.odt' -r /srv/backup
        backapp find --long /home/me/letter.txt -r /srv/backup
        backapp find -i readme.md --snapshot latest -r /srv/backup
    """,
)
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
@click.option("-i", "--ignore-case", is_flag=True, help="Upper and lower case are the same.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Show rights, owner, size and time.")
@click.option(
    "-s",
    "--snapshot",
    "snapshots",
    multiple=True,
    metavar="SNAPSHOT",
    shell_complete=complete_snapshot,
    help="Look in this snapshot (repeatable).",
)
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def find(
    session: Session,
    *,
    patterns: tuple[str, ...],
    ignore_case: bool,
    is_long: bool,
    snapshots: tuple[str, ...],
    snapshot_filter: SnapshotFilter,
) -> None:
    """Look for files and folders in snapshots, the newest first.

    A PATTERN without a slash is held against names, one that begins with a slash against whole
    paths. * and ? stay within a name, ** crosses folders. Quote it, or the shell will expand it.
    """
    engine = session.engine
    request = FindRequest(
        patterns, ignores_case=ignore_case, snapshots=snapshots, snapshot_filter=snapshot_filter
    )
    last: Snapshot | None = None
    with session.repository() as repository:
        for match in engine.find(repository, request):
            if match.snapshot is not last:
                _show_where(session, match.snapshot, is_first=last is None)
                last = match.snapshot
            _show_node(session, match.node, is_long=is_long, snapshot=match.snapshot)
    if last is None:
        session.output.remark("nothing matches")


@click.command(
    cls=Command,
    examples="""
        backapp diff 1a2b3c4d latest -r /srv/backup
        backapp diff --metadata 1a2b3c4d 5e6f7a8b -r /srv/backup
    """,
)
@click.argument("before", metavar="SNAPSHOT", shell_complete=complete_snapshot)
@click.argument("after", metavar="SNAPSHOT", shell_complete=complete_snapshot)
@click.option("--metadata", is_flag=True, help="Show changes of metadata alone, too.")
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def diff(
    session: Session, *, before: str, after: str, metadata: bool, snapshot_filter: SnapshotFilter
) -> None:
    """Show what differs from the first snapshot to the second.

    + added, - removed, M content changed, T type changed, U metadata changed (with --metadata).
    """
    engine = session.engine
    with session.repository() as repository:
        old = engine.find_snapshot(repository, before, snapshot_filter)
        new = engine.find_snapshot(repository, after, snapshot_filter)
        session.output.remark(f"comparing {old.short_id} with {new.short_id}")
        differences = engine.diff(repository, old, new, metadata=metadata)
        for change in differences:
            _show_change(session, change)
        _show_differences(session, old, new, differences.stats)


def _refuse_two_ways(snapshot: str, paths: tuple[bytes, ...]) -> None:
    """Refuse paths beside a folder that stands with the snapshot.

    Raises:
        InputError: If there are any.
    """
    if paths:
        raise InputError(f"give either a PATH or the folder in '{to_line(snapshot)}', not both")


def _show_node(
    session: Session, node: Node, *, is_long: bool, snapshot: Snapshot | None = None
) -> None:
    if session.output.is_json:
        fields = node_fields(node)
        if snapshot is not None:
            fields["snapshot"] = snapshot.id
        session.output.message("match" if snapshot is not None else "node", fields)
        return
    path = to_text(node.path)
    if not is_long:
        session.output.line(path)
        return
    target = f" -> {to_text(node.target)}" if node.target else ""
    owner = f"{node.user or node.uid}:{node.group or node.gid}"
    session.output.line(
        f"{permissions(node)}  {owner:<15}  {size(node.size_bytes):>10}  "
        f"{local_time_of_ns(node.mtime_ns)}  {path}{target}"
    )


def _show_where(session: Session, snapshot: Snapshot, *, is_first: bool) -> None:
    if not is_first:
        session.output.remark()
    session.output.remark(
        f"in snapshot {snapshot.short_id} of {local_time(snapshot.taken_at)} ({snapshot.hostname}):"
    )


def _show_change(session: Session, change: Change) -> None:
    if session.output.is_json:
        session.output.message(
            "change", {"path": to_text(change.path), "modifier": str(change.kind)}
        )
        return
    node = change.after or change.before
    slash = "/" if node is not None and node.kind is EntryKind.DIRECTORY else ""
    session.output.line(f"{change.kind}  {to_text(change.path)}{slash}")


def _show_differences(
    session: Session, before: Snapshot, after: Snapshot, figures: DiffStats
) -> None:
    session.output.message(
        "statistics",
        {
            "source_snapshot": before.id,
            "target_snapshot": after.id,
            "changed_files": figures.changed_files,
            "changed_metadata": figures.changed_metadata,
            "added": _side_fields(figures.added),
            "removed": _side_fields(figures.removed),
        },
    )
    session.output.remark()
    session.output.remark(f"changed:  {count(figures.changed_files, 'file')}")
    for word, side in (("added", figures.added), ("removed", figures.removed)):
        session.output.remark(
            f"{word + ':':<9} {count(side.files, 'file')}, {count(side.directories, 'folder')}, "
            f"{count(side.others, 'other')}, {size(side.bytes)}"
        )


def _side_fields(side: SideStats) -> dict[str, object]:
    return {
        "files": side.files,
        "dirs": side.directories,
        "others": side.others,
        "bytes": side.bytes,
    }
