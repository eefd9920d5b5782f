"""Make the best of a damaged repository."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from backapp_cli.exits import ExitCode
from backapp_cli.filters import filter_options, snapshot_argument
from backapp_cli.grammar import Command, Group
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_core.model.names import to_text
from backapp_core.model.quantities import count, size
from backapp_core.model.repairs import SnapshotRepair
from backapp_core.model.snapshots import Snapshot, SnapshotFilter

_PLACES = {name: f"{__name__}:{name}" for name in ("index", "packs", "snapshots")}


@click.group(
    cls=Group,
    places=_PLACES,
    examples="""
        backapp repair packs 1a2b3c4d -r /srv/backup
        backapp repair index -r /srv/backup
        backapp repair snapshots --forget -r /srv/backup
    """,
)
@global_options
def repair() -> None:
    """Make the best of a damaged repository.

    First save what can be read of damaged packs, which 'check --read-data' names; then make the
    index agree with what is there; back up again, which often brings back what was lost; and last
    make snapshots anew without what is still missing. Copy the repository before, if you can.
    """


def _dry_run(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-n", "--dry-run", "is_dry", is_flag=True, help="Only show what would be done."
    )(function)


@click.command(
    cls=Command,
    examples="""
        backapp repair index --dry-run -r /srv/backup
        backapp repair index --read-all-packs -r /srv/backup
    """,
)
@click.option(
    "--read-all-packs", is_flag=True, help="Believe nothing that the index says; ask every pack."
)
@_dry_run
@repository_options
@line_options
@global_options
@click.pass_obj
def index(session: Session, *, read_all_packs: bool, is_dry: bool) -> int:
    """Make the index agree with the packs that are there.

    Packs that it does not know are read, missing ones are forgotten. A pack that cannot tell what
    is in it is left alone, which makes the exit code 1: save what is in it with 'repair packs'.
    """
    with session.stoppable(), session.repository() as repository:
        found = session.engine.upkeep(repository).repair_index(
            reads_all_packs=read_all_packs, is_dry=is_dry
        )
    for name, reason in found.unreadable:
        session.output.line(f"left alone: {name}: {reason}")
    for name in found.missing:
        session.output.line(f"missing: {name}")
    for name in found.damaged:
        session.output.line(f"cannot be read: {name}")
    session.output.message(
        "summary",
        {
            "dry_run": is_dry,
            "missing": list(found.missing),
            "read": list(found.read),
            "unreadable": [{"name": name, "reason": reason} for name, reason in found.unreadable],
            "damaged": list(found.damaged),
            "replaced": list(found.replaced),
        },
    )
    words = "would be" if is_dry else "were"
    session.output.remark(
        "nothing had to be changed"
        if found.is_empty
        else f"{count(len(found.read), 'pack')} {words} read, {len(found.missing):,} forgotten"
    )
    return ExitCode.FAILED if found.unreadable else ExitCode.DONE


@click.command(cls=Command, examples="backapp repair packs 1a2b3c4d 5e6f7a8b -r /srv/backup")
@click.argument("packs", metavar="PACK...", nargs=-1, required=True)
@_dry_run
@repository_options
@line_options
@global_options
@click.pass_obj
def packs(session: Session, *, packs: tuple[str, ...], is_dry: bool) -> None:
    """Save what can be read of damaged packs.

    It is copied to new packs. The damaged ones are used no more and stay until a prune; packs that
    turn out to be whole are left alone. Run 'repair snapshots' afterwards if something was lost.
    """
    with session.stoppable(), session.repository() as repository:
        done = session.engine.upkeep(repository).repair_packs(packs, is_dry=is_dry)
    for one in done:
        session.output.message(
            "pack",
            {
                "name": one.name,
                "dry_run": is_dry,
                "salvaged": one.salvaged,
                "salvaged_bytes": one.salvaged_bytes,
                "lost": list(one.lost),
                "is_dropped": one.is_dropped,
            },
        )
        saved = f"{count(one.salvaged, 'blob')}, {size(one.salvaged_bytes)}"
        words = "would be saved" if is_dry else "saved"
        told = f"{saved} {words}, {len(one.lost):,} lost" if one.is_dropped else "left alone"
        session.output.line(f"{one.name}: {told}")


@click.command(
    cls=Command,
    examples="""
        backapp repair snapshots --dry-run -r /srv/backup
        backapp repair snapshots --forget -r /srv/backup
    """,
)
@snapshot_argument(is_repeated=True, is_required=False)
@click.option("--forget", "forgets", is_flag=True, help="Remove the snapshots that were damaged.")
@_dry_run
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def snapshots(
    session: Session,
    *,
    snapshots: tuple[str, ...],
    forgets: bool,
    is_dry: bool,
    snapshot_filter: SnapshotFilter,
) -> None:
    """Make damaged snapshots anew without what is lost.

    The new ones are tagged 'repaired', the damaged ones stay, unless --forget removes them. Files
    that lost parts are kept without these parts, folders that cannot be read are empty.
    """
    engine = session.engine
    with session.stoppable(), session.repository() as repository:
        chosen: Sequence[Snapshot]
        if snapshots:
            chosen = [engine.find_snapshot(repository, one, snapshot_filter) for one in snapshots]
        else:
            chosen = engine.snapshots(repository, snapshot_filter)
        done = engine.upkeep(repository).repair_snapshots(chosen, forgets=forgets, is_dry=is_dry)
    for one in done:
        _show_repair(session, one, is_dry=is_dry)
    session.output.message("summary", {"dry_run": is_dry, "changed_snapshots": len(done)})
    words = "would repair" if is_dry else "repaired"
    session.output.remark(f"{words} {count(len(done), 'snapshot')} of {len(chosen):,}")


@click.command(cls=Command, examples="backapp recover -r /srv/backup")
@repository_options
@line_options
@global_options
@click.pass_obj
def recover(session: Session) -> None:
    """Find folders again that no snapshot leads to.

    They become folders of a new snapshot, tagged 'recovered', and are called by the beginnings of
    their ids. For when snapshots were lost and nothing was pruned since.
    """
    with session.stoppable(), session.repository() as repository:
        snapshot = session.engine.upkeep(repository).recover()
    session.output.message("summary", {"snapshot_id": snapshot and snapshot.id})
    session.output.remark(
        f"snapshot {snapshot.short_id} saved" if snapshot else "every folder is in a snapshot"
    )


def _show_repair(session: Session, one: SnapshotRepair, *, is_dry: bool) -> None:
    session.output.message(
        "repaired",
        {
            "old_snapshot_id": one.before.id,
            "new_snapshot_id": one.after and one.after.id,
            "is_removed": one.is_removed and not is_dry,
            "changes": [{"path": to_text(path), "change": text} for path, text in one.changes],
        },
    )
    after = f" -> {one.after.short_id}" if one.after else ""
    session.output.line(f"snapshot {one.before.short_id}{after}")
    for path, text in one.changes:
        session.output.line(f"  {to_text(path)}: {text}")
