"""Figures: what is stored, and what of it is the same."""

from collections.abc import Sequence

import click
from attrs import frozen

from backapp_cli.filters import filter_options, snapshot_argument
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_core.model.quantities import count, size
from backapp_core.model.repositories import ContentStats, RepositoryStats
from backapp_core.model.snapshots import Snapshot, SnapshotFilter

_RESTORE_SIZE = "restore-size"
_MODES = (_RESTORE_SIZE, "files-by-contents", "blobs-per-file", "raw-data")


@frozen
class _Counted:
    """What one way of counting says, for people and, in restic's words, for programs."""

    line: str
    fields: dict[str, int]


@click.command(
    cls=Command,
    examples="""
        backapp stats -r /srv/backup
        backapp stats latest -r /srv/backup
        backapp stats --mode raw-data -r /srv/backup
    """,
)
@snapshot_argument(is_repeated=True, is_required=False)
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    default=_RESTORE_SIZE,
    show_default=True,
    help="How to count.",
)
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def stats(
    session: Session, snapshots: tuple[str, ...], mode: str, snapshot_filter: SnapshotFilter
) -> None:
    """Show how much is stored and what a restore would bring.

    Counts all snapshots unless some are named or filtered. restore-size counts each file in each of
    them, files-by-contents each content of files once, blobs-per-file the blobs that those are cut
    into, and raw-data each blob once, as it is stored.
    """
    engine = session.engine
    with session.repository() as repository:
        chosen: Sequence[Snapshot] = (
            [engine.find_snapshot(repository, name, snapshot_filter) for name in snapshots]
            if snapshots
            else engine.snapshots(repository, snapshot_filter)
        )
        figures = engine.stats(repository, chosen)
        if mode == _RESTORE_SIZE:
            counted = _restored(figures)
        else:
            counted = _counted(mode, engine.upkeep(repository).content_stats(chosen))
    session.output.message(
        "stats",
        {
            **counted.fields,
            "snapshots_count": len(chosen),
            "repository_snapshots": figures.snapshots,
            "repository_objects": figures.objects,
            "repository_size": figures.stored_bytes,
            "remarks": figures.remarks,
        },
    )
    stored = f"{count(figures.objects, 'object')}, {size(figures.stored_bytes)}"
    session.output.lines(
        [
            f"Snapshots counted:   {len(chosen):,} of {figures.snapshots:,}",
            counted.line,
            f"Stored altogether:   {stored}",
        ]
    )
    for remark in figures.remarks:
        session.output.note(f"note: {remark}")


def _restored(figures: RepositoryStats) -> _Counted:
    files, total = figures.restore_files, figures.restore_bytes
    return _Counted(
        f"Restoring them:      {count(files, 'file')}, {size(total)}",
        {"total_size": total, "total_file_count": files},
    )


def _counted(mode: str, content: ContentStats) -> _Counted:
    if mode == "raw-data":
        stored, whole = content.stored_bytes, content.blob_bytes
        return _Counted(
            f"What they need:      {count(content.blobs, 'blob')}, {size(stored)} stored, "
            f"{size(whole)} uncompressed",
            {
                "total_size": stored,
                "total_uncompressed_size": whole,
                "total_blob_count": content.blobs,
            },
        )
    different = f"{count(content.files, 'file')}, {size(content.file_bytes)}"
    fields = {"total_size": content.file_bytes, "total_file_count": content.files}
    if mode == "files-by-contents":
        return _Counted(f"Different contents:  {different}", fields)
    return _Counted(
        f"Different contents:  {different} in {count(content.file_blobs, 'blob')}",
        {**fields, "total_blob_count": content.file_blobs},
    )
