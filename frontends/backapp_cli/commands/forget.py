"""Take snapshots away by a policy, and free what nothing needs any more."""

from typing import TYPE_CHECKING

import click

from backapp_cli import values
from backapp_cli.clean_up import clean_up_options
from backapp_cli.filters import filter_options, snapshot_argument
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.plain import snapshot_fields
from backapp_cli.retention import retention_options
from backapp_cli.session import Session
from backapp_cli.show import local_time, table
from backapp_core.model.names import to_text
from backapp_core.model.quantities import count, size
from backapp_core.model.repositories import CleanUpOptions, CleanUpPlan
from backapp_core.model.requests import ForgetRequest
from backapp_core.model.retention import Retention
from backapp_core.model.snapshots import SnapshotFilter

if TYPE_CHECKING:
    from backapp_core.engine.prune import ForgetGroup, ForgetPlan
    from backapp_core.ports.archivers import Repository


@click.command(
    cls=Command,
    examples="""
        backapp forget --keep-daily 7 --keep-weekly 5 --dry-run -r /srv/backup
        backapp forget --keep-within 1y --prune -r /srv/backup
        backapp forget 1a2b3c4d -r /srv/backup
    """,
)
@snapshot_argument(is_repeated=True, is_required=False)
@retention_options
@click.option(
    "-g",
    "--group-by",
    type=values.groups,
    metavar="FIELDS",
    default="host,paths",
    show_default=True,
    help="Apply the policy to each group by itself; '' for all together.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--prune", "prunes", is_flag=True, help="Free the space, too.")
@clean_up_options
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def forget(
    session: Session,
    *,
    snapshots: tuple[str, ...],
    retention: Retention,
    group_by: frozenset[str],
    dry_run: bool,
    prunes: bool,
    options: CleanUpOptions,
    snapshot_filter: SnapshotFilter,
) -> None:
    """Remove snapshots, by name or by a policy.

    What goes is what is named, or what no --keep rule wants. The space is freed by 'prune', or at
    once with --prune. Rules are independent; a snapshot stays if any of them wants it. Look first,
    with --dry-run.
    """
    engine = session.engine
    request = ForgetRequest(
        snapshots=snapshots,
        retention=retention,
        snapshot_filter=snapshot_filter,
        groups_by_host="host" in group_by,
        groups_by_roots="paths" in group_by,
        groups_by_tags="tags" in group_by,
    )
    with session.stoppable(), session.repository() as repository:
        plan = engine.plan_forget(repository, request)
        _show_plan(session, plan)
        removed = () if dry_run else engine.forget(repository, plan)
        _show_removed(session, plan, is_dry=dry_run)
        if prunes and removed:
            _prune(session, repository, options, is_dry=False)


@click.command(
    cls=Command,
    examples="""
        backapp prune --dry-run -r /srv/backup
        backapp prune -r /srv/backup
        backapp prune --max-unused unlimited --max-repack-size 10G -r /srv/backup
    """,
)
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be deleted.")
@clean_up_options
@repository_options
@line_options
@global_options
@click.pass_obj
def prune(session: Session, *, options: CleanUpOptions, dry_run: bool) -> None:
    """Delete what no snapshot needs any more.

    Leftovers of interrupted runs go, too. Nobody else can use the repository meanwhile. Where
    needed and unneeded content share a pack, the needed part is copied before the pack goes, as
    far as the options say; a format without packs, such as targz, copies nothing.
    """
    with session.stoppable(), session.repository() as repository:
        _prune(session, repository, options, is_dry=dry_run)


def _prune(
    session: Session, repository: "Repository", options: CleanUpOptions, *, is_dry: bool
) -> None:
    plan = session.engine.plan_prune(repository, options)
    done = plan if is_dry else session.engine.prune(repository, plan)
    session.shown.pause()
    _show_freed(session, done, is_dry=is_dry)


def _show_plan(session: Session, plan: "ForgetPlan") -> None:
    for group in plan.groups:
        kept = {one.snapshot.id: list(one.reasons) for one in group.decisions if one.is_kept}
        session.output.message(
            "group",
            {
                "host": group.hostname,
                "paths": None if group.roots is None else [to_text(root) for root in group.roots],
                "tags": None if group.tags is None else list(group.tags),
                "keep": [snapshot_fields(one) for one in group.kept],
                "remove": [snapshot_fields(one) for one in group.removed],
                "reasons": kept,
            },
        )
        session.output.lines(_group_lines(group))


def _group_lines(group: "ForgetGroup") -> list[str]:
    rows = [
        (
            one.snapshot.short_id,
            local_time(one.snapshot.taken_at),
            one.snapshot.hostname,
            "keep" if one.is_kept else "remove",
            "\n".join(one.reasons),
            "\n".join(map(to_text, one.snapshot.roots)),
        )
        for one in group.decisions
    ]
    return [*table(("ID", "Time", "Host", "What", "Why", "Paths"), rows), ""]


def _show_removed(session: Session, plan: "ForgetPlan", *, is_dry: bool) -> None:
    going = plan.removal.remove
    session.output.message(
        "summary",
        {
            "dry_run": is_dry,
            "removed": list(going),
            "kept": list(plan.removal.keep),
        },
    )
    words = "would remove" if is_dry else "removed"
    session.output.line(f"{words} {count(len(going), 'snapshot')}, {len(plan.removal.keep):,} stay")


def _show_freed(session: Session, done: CleanUpPlan, *, is_dry: bool) -> None:
    if session.verbosity or is_dry:
        for name, size_bytes in done.objects:
            session.output.line(f"{size(size_bytes):>10}  {name}")
    session.output.message(
        "pruned",
        {
            "dry_run": is_dry,
            "objects": [{"name": name, "size": size_bytes} for name, size_bytes in done.objects],
            "freed_bytes": done.freed_bytes,
            "kept_objects": done.kept_objects,
            "kept_bytes": done.kept_bytes,
            "repacked_bytes": done.repacked_bytes,
            "unused_bytes": done.unused_bytes,
            "marked": [{"name": name, "size": size_bytes} for name, size_bytes in done.marked],
        },
    )
    words = "would delete" if is_dry else "deleted"
    # What is copied is told below: with --keep-delete it can be more than what goes.
    deleted = sum(size_bytes for _, size_bytes in done.objects)
    session.output.line(
        f"{words} {count(len(done.objects), 'object')}, {size(deleted)}; "
        f"{count(done.kept_objects, 'object')}, {size(done.kept_bytes)} stay"
    )
    if done.repacked_bytes:
        words = "would copy" if is_dry else "copied"
        session.output.line(f"{words} {size(done.repacked_bytes)} into new objects before")
    if done.unused_bytes:
        session.output.line(f"{size(done.unused_bytes)} of what stays are unused")
    if done.marked:
        marked = sum(size_bytes for _, size_bytes in done.marked)
        words = "would be" if is_dry else "are"
        session.output.line(
            f"{count(len(done.marked), 'object')}, {size(marked)} {words} marked for a later prune"
        )
