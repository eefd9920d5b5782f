"""Copy snapshots from another repository."""

from collections.abc import Sequence

import click

from backapp_cli.filters import filter_options
from backapp_cli.grammar import Command
from backapp_cli.options import (
    compression_option,
    global_options,
    line_options,
    repository_options,
    source_options,
)
from backapp_cli.session import Session
from backapp_core.model.quantities import count
from backapp_core.model.snapshots import Snapshot, SnapshotFilter


@click.command(
    cls=Command,
    examples="""
        backapp copy --from-repo /srv/backup -r sftp://me@nas/srv/backup
        backapp copy latest --host web --from-repo /srv/backup -r /mnt/disk/backup
    """,
)
@click.argument("snapshots", metavar="[SNAPSHOT]...", nargs=-1)
@filter_options
@source_options
@compression_option
@repository_options
@line_options
@global_options
@click.pass_obj
def copy(session: Session, *, snapshots: tuple[str, ...], snapshot_filter: SnapshotFilter) -> None:
    """Copy snapshots from another repository.

    Without a SNAPSHOT, those that the filters let through; without filters, all of them. What was
    copied before is not copied again. Both repositories must be of a format that shares parts
    between snapshots, such as restic. To have files that both store sent only once, create the
    repository with 'init --from-repo URL --copy-chunker-params'.
    """
    engine = session.engine
    with session.stoppable(), session.source() as source, session.repository() as repository:
        chosen: Sequence[Snapshot]
        if snapshots:
            chosen = [engine.find_snapshot(source, one, snapshot_filter) for one in snapshots]
        else:
            chosen = engine.snapshots(source, snapshot_filter)
        done = engine.upkeep(repository).copy_from(source, chosen)
    for one in done:
        session.output.message(
            "copied",
            {"source_id": one.source.id, "snapshot_id": one.copy.id, "is_new": one.is_new},
        )
        words = "copied as" if one.is_new else "was copied before as"
        session.output.line(f"{one.source.short_id} {words} {one.copy.short_id}")
    copied = sum(one.is_new for one in done)
    session.output.message("summary", {"copied_snapshots": copied, "snapshots": len(done)})
    session.output.remark(f"copied {count(copied, 'snapshot')} of {len(done):,}")
