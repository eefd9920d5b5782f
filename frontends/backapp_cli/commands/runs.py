"""What jobs did: runs and their events."""

import click

from backapp_cli.complete import complete_job, complete_run
from backapp_cli.grammar import Command, Group
from backapp_cli.options import global_options
from backapp_cli.plain import run_fields
from backapp_cli.session import Session
from backapp_cli.show import local_time, table
from backapp_core.errors import JobNotFound
from backapp_core.events import Event, FileDone, LogLine, Problem, Progress, RunMoved, SnapshotSaved
from backapp_core.model.names import to_text
from backapp_core.model.quantities import count, duration, size
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.stores import RunFilter

_PLACES = {"list": f"{__name__}:list_runs", "show": f"{__name__}:show"}


@click.group(
    cls=Group,
    places=_PLACES,
    examples="""
        backapp runs list --job documents
        backapp runs show 1a2b3c4d
    """,
)
@global_options
def runs() -> None:
    """Show what jobs did."""


@click.command(
    "list",
    cls=Command,
    examples="""
        backapp runs list
        backapp runs list --job documents --state failed --limit 5
    """,
)
@click.option(
    "--job",
    "job_name",
    metavar="NAME",
    shell_complete=complete_job,
    help="Only runs of this job.",
)
@click.option(
    "--state", type=click.Choice([str(one) for one in RunState]), help="Only runs in this state."
)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="At most N."
)
@global_options
@click.pass_obj
def list_runs(session: Session, job_name: str | None, state: str | None, limit: int) -> None:
    """List runs, the latest first."""
    wanted = RunFilter(job_name=job_name, state=RunState(state) if state else None, limit=limit)
    found = session.engine.runs.list(wanted)
    for one in found:
        session.output.message("run", run_fields(one))
    if not found and job_name:
        _require_job(session, job_name)
    if not found:
        session.output.remark(
            "no runs yet; start one with: backapp job run NAME"
            if state is None
            else f"no run whose state is {state}"
        )
        return
    rows = [
        (
            one.id[:8],
            one.job_name,
            state_words(one),
            local_time(one.started_at or one.requested_at),
            _took(one),
            one.snapshot_id[:8] if one.snapshot_id else "",
        )
        for one in found
    ]
    session.output.lines(table(("ID", "Job", "State", "Began", "Took", "Snapshot"), rows))


@click.command(
    cls=Command,
    examples="""
        backapp runs show 1a2b3c4d
        backapp runs show 1a2b3c4d --json
    """,
)
@click.argument("run_id", metavar="ID", shell_complete=complete_run)
@global_options
@click.pass_obj
def show(session: Session, run_id: str) -> None:
    """Show one run and what happened during it.

    ID may be the beginning of an id.
    """
    from backapp_core.codec import event_to_plain

    stored = session.engine.runs
    one = stored.get(run_id)
    events = stored.events(one.id)
    session.output.message("run", run_fields(one))
    session.output.lines(_description(one))
    if events:
        session.output.line()
    for at, event in events:
        session.output.message("event", {"time": at.isoformat(), "event": event_to_plain(event)})
        session.output.line(f"{local_time(at)}  {_words(event)}")


def _require_job(session: Session, name: str) -> None:
    """Refuse the name of a job that neither is there nor left runs behind.

    Raises:
        JobNotFound: If it is such a name.
    """
    engine = session.engine
    if engine.runs.list(RunFilter(job_name=name, limit=1)):
        return
    try:
        engine.jobs.get(name)
    except JobNotFound as error:
        raise JobNotFound(f"{error.message}, and no run of one") from error


def show_end(session: Session, run: Run) -> None:
    """Show how a run ended that was just driven."""
    session.output.message("run", run_fields(run))
    if not session.output.is_quiet:
        session.output.lines(_description(run))


def _description(run: Run) -> list[str]:
    lines = [
        f"run:       {run.id}",
        f"job:       {run.job_name}",
        f"state:     {state_words(run)}",
        f"requested: {local_time(run.requested_at)}",
    ]
    if run.due_at:
        lines.append(f"due:       {local_time(run.due_at)}")
    if run.started_at:
        lines.append(f"began:     {local_time(run.started_at)}")
    if run.ended_at:
        lines.append(f"ended:     {local_time(run.ended_at)} (took {_took(run)})")
    if run.snapshot_id:
        lines.append(f"snapshot:  {run.snapshot_id[:8]}")
    if run.counts:
        counts = run.counts
        lines.append(
            f"counted:   {count(counts.files, 'file')}, {size(counts.processed_bytes)}; "
            f"{counts.files_new:,} new, {counts.files_changed:,} changed; "
            f"{size(counts.stored_bytes)} stored"
        )
        if counts.problems:
            lines.append(f"problems:  {counts.problems:,}")
    if run.error:
        lines.append(f"error:     {run.error}")
    return lines


def state_words(run: Run) -> str:
    """Return how far a run came, and whether something was wrong."""
    return f"{run.state} with warnings" if run.has_warnings else str(run.state)


def _took(run: Run) -> str:
    if run.started_at is None or run.ended_at is None:
        return ""
    return duration(max(0.0, (run.ended_at - run.started_at).total_seconds()))


def _words(event: Event) -> str:
    match event:
        case Problem():
            return f"{to_text(event.path)}: {event.reason}" if event.path else event.reason
        case LogLine():
            return f"{event.level}: {event.text}"
        case RunMoved():
            return f"run is {event.run.state}"
        case SnapshotSaved():
            return f"snapshot {event.snapshot.short_id} saved"
        case FileDone():
            return f"{event.action} {to_text(event.path)}"
        case Progress():
            return f"{event.verb}: {count(event.files_done, 'file')}, {size(event.bytes_done)}"
