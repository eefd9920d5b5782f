"""Bring a snapshot, or a part of it, back."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backapp_cli.exits import ExitCode
from backapp_cli.filters import filter_options, snapshot_argument
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_cli.values import PathText
from backapp_core.errors import InputError
from backapp_core.model.entries import EntryKind
from backapp_core.model.names import to_text
from backapp_core.model.quantities import count, duration, size
from backapp_core.model.requests import RestoreRequest
from backapp_core.model.restores import Action, Overwrite, RestoreOutcome
from backapp_core.model.snapshots import SnapshotFilter

if TYPE_CHECKING:
    from backapp_core.engine.restore import RestorePlan

_REASONS_SHOWN = 20


@click.command(
    cls=Command,
    examples="""
        backapp restore latest --target /tmp/back -r /srv/backup
        backapp restore latest:/home/me/letters --target ~/letters -r /srv/backup
        backapp restore 1a2b3c4d --include '*.odt' --dry-run --target / -r /srv/backup
    """,
)
@snapshot_argument()
@click.option(
    "-t",
    "--target",
    required=True,
    metavar="FOLDER",
    type=PathText(path_type=Path),
    help="Restore below this folder; made if need be.",
)
@click.option(
    "-i",
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Only what matches, and the folders that lead to it (repeatable).",
)
@click.option(
    "-e", "--exclude", multiple=True, metavar="PATTERN", help="Not what matches (repeatable)."
)
@click.option("--iinclude", multiple=True, metavar="PATTERN", help="As --include, in any case.")
@click.option("--iexclude", multiple=True, metavar="PATTERN", help="As --exclude, in any case.")
@click.option(
    "--overwrite",
    type=click.Choice([str(one) for one in Overwrite]),
    default=str(Overwrite.IF_CHANGED),
    show_default=True,
    help="Which existing files are written anew: if-changed, where type, size or time differ "
    "(contents are not compared); if-newer, where the snapshot's is newer; always, all; never, "
    "none.",
)
@click.option(
    "--owners/--no-owners",
    default=None,
    help="Whether owners and groups come back (default: if run by root).",
)
@click.option(
    "--special/--no-special",
    default=None,
    help="Whether set-id bits, devices and privileged attributes come back (default: the same).",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be restored.")
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def restore(
    session: Session,
    *,
    snapshot: str,
    target: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    iinclude: tuple[str, ...],
    iexclude: tuple[str, ...],
    overwrite: str,
    owners: bool | None,
    special: bool | None,
    dry_run: bool,
    snapshot_filter: SnapshotFilter,
) -> int:
    """Restore a snapshot below a folder.

    Everything comes back below FOLDER with its whole path; SNAPSHOT:PATH restores what is in the
    folder PATH of the snapshot, and without the path that leads to it. Contents are verified while
    they are written; those of files that are left as they are, are not compared. What could not be
    restored is listed, and the exit code is 1.
    """
    _refuse_mixed(include + exclude, iinclude + iexclude)
    name, _, folder = snapshot.partition(":")
    request = RestoreRequest(
        target=target,
        folder=os.fsencode(folder),
        include=include or iinclude,
        exclude=exclude or iexclude,
        ignores_case=bool(iinclude or iexclude),
        overwrite=Overwrite(overwrite),
        owners=owners,
        special=special,
        reports_files=session.verbosity > 1,
    )
    began = time.monotonic()
    engine = session.engine
    with session.stoppable(), session.repository() as repository:
        found = engine.find_snapshot(repository, name, snapshot_filter)
        plan = engine.plan_restore(repository, found, request)
        if dry_run:
            return _show_plan(session, plan)
        session.output.remark(f"restoring snapshot {found.short_id} to {target}")
        outcome = engine.restore(plan)
    _show_outcome(session, outcome, found.id, time.monotonic() - began)
    return ExitCode.DONE if outcome.is_complete else ExitCode.FAILED


def _refuse_mixed(heeding: tuple[str, ...], ignoring: tuple[str, ...]) -> None:
    """Refuse patterns of both sorts, since a restore has one way to compare names.

    Raises:
        InputError: If there are some of each.
    """
    if heeding and ignoring:
        raise InputError("patterns that heed case and patterns that do not cannot be mixed")


def _show_plan(session: Session, plan: "RestorePlan") -> int:
    output = session.output
    counts = dict.fromkeys(Action, 0)
    total_bytes = 0
    for step in plan:
        counts[step.action] += 1
        writes = step.action in {Action.CREATE, Action.OVERWRITE}
        if writes and step.node.kind is EntryKind.FILE:
            total_bytes += step.node.size_bytes
        output.message(
            "restore_step",
            {
                "action": str(step.action),
                "item": to_text(step.path),
                "type": str(step.node.kind),
                "size": step.node.size_bytes,
            },
        )
        output.line(f"{step.action:<9}  {to_text(step.path)}")
    output.message(
        "summary",
        {
            "dry_run": True,
            **{str(action): number for action, number in counts.items()},
            "total_bytes": total_bytes,
        },
    )
    listed = ", ".join(f"{action} {number:,}" for action, number in counts.items())
    output.line(f"would {listed}; {size(total_bytes)} to write")
    refused = counts[Action.REFUSE]
    if not refused:
        return ExitCode.DONE
    output.error(
        f"the restore would be incomplete: {count(refused, 'entry', 'entries')} would be refused",
        ExitCode.FAILED,
    )
    return ExitCode.FAILED


def _show_outcome(
    session: Session, outcome: RestoreOutcome, snapshot_id: str, seconds: float
) -> None:
    output = session.output
    output.message(
        "summary",
        {
            "snapshot_id": snapshot_id,
            "files_restored": outcome.files,
            "dirs_restored": outcome.directories,
            "others_restored": outcome.others,
            "bytes_restored": outcome.restored_bytes,
            "kept": outcome.kept,
            "withheld": outcome.withheld,
            "error_count": outcome.problems,
            "not_restored": _listed(outcome.not_restored),
            "incomplete": _listed(outcome.incomplete),
            "total_duration": round(seconds, 3),
        },
    )
    output.line(
        f"restored {count(outcome.files, 'file')}, {count(outcome.directories, 'folder')}, "
        f"{count(outcome.others, 'link or special file', 'links and special files')}, "
        f"{size(outcome.restored_bytes)} in {duration(seconds)}"
    )
    if outcome.kept:
        output.remark(
            f"left {count(outcome.kept, 'entry as it was', 'entries as they were')} "
            "(see --overwrite)"
        )
    if outcome.withheld:
        output.remark(
            f"restored {count(outcome.withheld, 'entry', 'entries')} without set-id bits or "
            "privileged attributes"
        )
    if not outcome.is_complete:
        _list_problems(session, outcome)


def _list_problems(session: Session, outcome: RestoreOutcome) -> None:
    output = session.output
    for title, entries in (
        ("not restored", outcome.not_restored),
        ("restored without all of its metadata", outcome.incomplete),
    ):
        if entries:
            output.note(f"{title}:")
        for path, reason in entries[:_REASONS_SHOWN]:
            output.note(f"  {to_text(path)}: {reason}")
        if len(entries) > _REASONS_SHOWN:
            output.note(f"  and {len(entries) - _REASONS_SHOWN:,} more")
    output.error(
        f"the restore is incomplete: {count(outcome.problems, 'problem')}", ExitCode.FAILED
    )


def _listed(entries: tuple[tuple[bytes, str], ...]) -> list[dict[str, str]]:
    return [{"item": to_text(path), "reason": reason} for path, reason in entries]
