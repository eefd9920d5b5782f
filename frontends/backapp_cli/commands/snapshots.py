"""Snapshots: which there are, and their tags."""

from collections.abc import Iterable, Sequence

import click

from backapp_cli import values
from backapp_cli.filters import filter_options, snapshot_argument
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.plain import snapshot_fields
from backapp_cli.session import Session
from backapp_cli.show import local_time, table
from backapp_core.model import retention
from backapp_core.model.names import to_line, to_text
from backapp_core.model.quantities import count, size
from backapp_core.model.snapshots import Snapshot, SnapshotFilter

_HEADINGS = ("ID", "Time", "Host", "Tags", "Size", "Paths")
_SIZE_COLUMN = 4


@click.command(
    cls=Command,
    examples="""
        backapp snapshots -r /srv/backup
        backapp snapshots --latest 1 --host web1 -r /srv/backup
        backapp snapshots --json -r /srv/backup
    """,
)
@snapshot_argument(is_repeated=True, is_required=False)
@click.option(
    "--latest", type=click.IntRange(1), metavar="N", help="Only the last N of each host and paths."
)
@click.option(
    "-g",
    "--group-by",
    type=values.groups,
    metavar="FIELDS",
    default="",
    help="Show them in groups: host, paths, tags, separated by commas.",
)
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def snapshots(
    session: Session,
    *,
    snapshots: tuple[str, ...],
    latest: int | None,
    group_by: frozenset[str],
    snapshot_filter: SnapshotFilter,
) -> None:
    """List the snapshots of a repository, oldest first."""
    engine = session.engine
    with session.repository() as repository:
        if snapshots:
            found = [engine.find_snapshot(repository, one, snapshot_filter) for one in snapshots]
        else:
            found = engine.snapshots(repository, snapshot_filter, latest=latest or 0)
    for one in found:
        session.output.message("snapshot", snapshot_fields(one))
    if not found:
        is_filtered = snapshot_filter != SnapshotFilter()
        session.output.remark(
            "no snapshot matches"
            if is_filtered
            else "no snapshots yet; make one with: backapp backup PATH"
        )
        return
    for heading, members in _grouped(found, group_by):
        session.output.lines([*heading, *_listing(members), count(len(members), "snapshot")])


@click.command(
    cls=Command,
    examples="""
        backapp tag --add keep latest -r /srv/backup
        backapp tag --set monthly,office 1a2b3c4d -r /srv/backup
        backapp tag --remove test --host web1 -r /srv/backup
    """,
)
@snapshot_argument(is_repeated=True, is_required=False)
@click.option(
    "--add",
    multiple=True,
    metavar="TAG[,TAG...]",
    type=values.utf8_text,
    help="Add these tags.",
)
@click.option(
    "--remove",
    multiple=True,
    metavar="TAG[,TAG...]",
    type=values.utf8_text,
    help="Remove these tags.",
)
@click.option(
    "--set",
    "replace",
    multiple=True,
    metavar="TAG[,TAG...]",
    type=values.utf8_text,
    help="Have these tags only.",
)
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def tag(
    session: Session,
    *,
    snapshots: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    replace: tuple[str, ...],
    snapshot_filter: SnapshotFilter,
) -> None:
    """Change the tags of snapshots.

    Without a SNAPSHOT, those that the filters let through; without filters, all of them. --set ''
    takes all tags away. A snapshot may have another id afterwards, which is shown.
    """
    engine = session.engine
    with session.stoppable(), session.repository() as repository:
        chosen: Sequence[Snapshot]
        if snapshots:
            chosen = [engine.find_snapshot(repository, one, snapshot_filter) for one in snapshots]
        else:
            chosen = engine.snapshots(repository, snapshot_filter)
        done = engine.tag(
            repository,
            chosen,
            add=values.tags(add),
            remove=values.tags(remove),
            replace=values.tags(replace) if replace else None,
        )
    for one in done:
        session.output.message(
            "changed", {"old_snapshot_id": one.before.id, "new_snapshot_id": one.after.id}
        )
        listed = ", ".join(one.after.tags) or "no tags"
        session.output.line(f"{one.before.short_id} -> {one.after.short_id}: {listed}")
    session.output.message("summary", {"changed_snapshots": len(done)})
    session.output.remark(f"changed {count(len(done), 'snapshot')} of {len(chosen):,}")


def _grouped(
    found: Sequence[Snapshot], fields: frozenset[str]
) -> Iterable[tuple[list[str], Sequence[Snapshot]]]:
    if not fields:
        return [([], found)]
    groups = retention.group_by(
        found, hosts="host" in fields, paths="paths" in fields, tags="tags" in fields
    )
    return [(["", _heading(members[0], fields)], members) for members in groups]


def _heading(one: Snapshot, fields: frozenset[str]) -> str:
    parts = {
        "host": f"host {one.hostname}",
        "tags": f"tags {', '.join(one.tags) or 'none'}",
        "paths": f"paths {', '.join(map(to_text, one.roots))}",
    }
    return "snapshots of " + "; ".join(parts[field] for field in parts if field in fields)


def _listing(members: Sequence[Snapshot]) -> list[str]:
    rows = [
        (
            one.short_id,
            local_time(one.taken_at),
            to_line(one.hostname),
            "\n".join(map(to_line, one.tags)),
            size(one.counts.processed_bytes) if one.counts.are_known else "",
            "\n".join(map(to_text, one.roots)),
        )
        for one in members
    ]
    return table(_HEADINGS, rows, right=(_SIZE_COLUMN,))
