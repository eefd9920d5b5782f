"""Make a snapshot of folders and files."""

import time
from typing import TYPE_CHECKING

import click
from attrs import evolve

from backapp_cli import values
from backapp_cli.exits import ExitCode
from backapp_cli.filters import complete_snapshot
from backapp_cli.grammar import Command
from backapp_cli.options import compression_option, global_options, line_options, repository_options
from backapp_cli.piped import Piped, piped_options
from backapp_cli.plain import Fields, count_fields
from backapp_cli.session import Session
from backapp_cli.sources import files_from_options, source_options, sources_from
from backapp_core.model.quantities import count, duration, size
from backapp_core.model.requests import BackupRequest
from backapp_core.model.snapshots import Counts

if TYPE_CHECKING:
    from backapp_core.ports.archivers import BackupResult


@click.command(
    cls=Command,
    examples="""
        backapp backup ~/Documents /etc -r /srv/backup
        backapp backup / -x --exclude '*.tmp' --exclude-caches -r /srv/backup
        backapp backup /srv/www --tag nightly --host web1 -r sftp://me@nas/srv/backup
        backapp backup --stdin-filename mail.sql --stdin-from-command -- pg_dump mail
    """,
)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=values.path_bytes)
@source_options
@files_from_options
@piped_options
@click.option(
    "--tag",
    multiple=True,
    metavar="TAG[,TAG...]",
    type=values.utf8_text,
    help="Tag the snapshot (repeatable).",
)
@click.option(
    "-H",
    "--host",
    default="",
    metavar="NAME",
    type=values.utf8_text,
    help="Name of this machine in the snapshot.",
)
@click.option("-f", "--force", is_flag=True, help="Read every file again, changed or not.")
@click.option("--full", is_flag=True, help="Depend on nothing that was stored before.")
@click.option(
    "--parent",
    default="",
    metavar="SNAPSHOT",
    shell_complete=complete_snapshot,
    help="Compare with this snapshot instead of the newest of the same host and paths.",
)
@click.option(
    "--skip-if-unchanged",
    is_flag=True,
    help="Make no snapshot if nothing changed since the one compared with; folders above PATHs do "
    "not count.",
)
@click.option(
    "-n",
    "--dry-run",
    is_flag=True,
    help="Only look: count what would be backed up, and with -vv name it. Nothing is compared.",
)
@compression_option
@repository_options
@line_options
@global_options
@click.pass_obj
def backup(
    session: Session,
    *,
    paths: tuple[bytes, ...],
    scanner_settings: dict[str, object],
    files_from: tuple[bytes, ...],
    files_from_verbatim: tuple[bytes, ...],
    files_from_raw: tuple[bytes, ...],
    piped: Piped | None,
    tag: tuple[str, ...],
    host: str,
    force: bool,
    full: bool,
    parent: str,
    skip_if_unchanged: bool,
    dry_run: bool,
) -> int:
    """Back folders and files up into a new snapshot.

    Files that did not change since the last snapshot are not read again. Patterns are those of
    .gitignore, held against whole paths; a later one wins, and ! takes one back. A link is stored
    as such; LINK/, with a slash, is the folder that it points to. What cannot be read is reported,
    the rest is backed up, and the exit code is 3.
    """
    lists = (files_from, files_from_verbatim, files_from_raw)
    if piped is None:
        request = BackupRequest(sources_from(paths, *lists), scanner_settings=scanner_settings)
    else:
        request = piped.request(paths, chooses_files=bool(scanner_settings) or any(lists))
    request = evolve(
        request,
        tags=values.tags(tag),
        hostname=host,
        is_full=full,
        rereads_all=force,
        parent=parent,
        skips_unchanged=skip_if_unchanged,
        reports_files=session.verbosity > 1,
    )
    began = time.monotonic()
    engine = session.engine
    if piped is None:
        session.estimate = lambda: engine.estimate(request).processed_bytes
    with (
        session.stoppable(),
        session.repository(sources=None if dry_run else request) as repository,
    ):
        if dry_run:
            return _show_estimate(session, engine.estimate(request, repository))
        result = engine.backup(repository, request)
    _show_summary(session, result, time.monotonic() - began)
    return ExitCode.INCOMPLETE if result.counts.problems else ExitCode.DONE


def _show_estimate(session: Session, counts: Counts) -> int:
    session.output.message("summary", _estimate_fields(counts))
    session.output.line(
        f"would back up {count(counts.files, 'file')} in "
        f"{count(counts.directories, 'folder')}, {size(counts.processed_bytes)}"
    )
    return ExitCode.INCOMPLETE if counts.problems else ExitCode.DONE


def _estimate_fields(counts: Counts) -> Fields:
    """Return what a walk finds out; what changed is known only once files are compared and read."""
    unknown = {"files_new", "files_changed", "files_unmodified", "bytes_read", "data_added"}
    known = {name: one for name, one in count_fields(counts).items() if name not in unknown}
    return {"dry_run": True, **known}


def _show_summary(session: Session, result: "BackupResult", seconds: float) -> None:
    output, counts, snapshot = session.output, result.counts, result.snapshot
    output.message("summary", _summary_fields(result, seconds))
    if not output.is_quiet:
        output.lines(
            [
                f"Files:  {counts.files_new:>9,} new, {counts.files_changed:>9,} changed, "
                f"{counts.files_unmodified:>9,} unmodified",
                f"Also:   {counts.directories:>9,} folders, "
                f"{counts.others:>9,} links and special files",
                f"Read {size(counts.read_bytes)}, stored {size(counts.stored_bytes)}",
                "",
                f"processed {count(counts.files, 'file')}, {size(counts.processed_bytes)} "
                f"in {duration(seconds)}",
            ]
        )
    if result.is_skipped:
        output.line(f"nothing changed since snapshot {snapshot.short_id}; none was made")
    else:
        output.line(f"snapshot {snapshot.short_id} saved")
    if counts.problems:
        output.note(
            f"warning: {count(counts.problems, 'entry', 'entries')} could not be read; "
            + (
                "the snapshot lacks it or holds it in part"
                if counts.problems == 1
                else "the snapshot lacks them or holds them in part"
            )
        )


def _summary_fields(result: "BackupResult", seconds: float) -> Fields:
    """Return the message for programs; as restic's it names no snapshot where none was made."""
    figures = {**count_fields(result.counts), "total_duration": round(seconds, 3)}
    if result.is_skipped:
        return {**figures, "parent": result.snapshot.id}
    return {**figures, "snapshot_id": result.snapshot.id, "parent": result.snapshot.parent_id}
