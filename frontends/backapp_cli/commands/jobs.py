"""Jobs: backups that can be run again and again under one name."""

import click

from backapp_cli import values
from backapp_cli.commands.runs import show_end, state_words
from backapp_cli.complete import complete_job
from backapp_cli.exits import ExitCode
from backapp_cli.grammar import Command, Group
from backapp_cli.job_form import described, edited, job_options, new_job
from backapp_cli.options import (
    global_options,
    line_options,
    lock_option,
    repository_options,
)
from backapp_cli.session import Session
from backapp_cli.show import iso_time, local_time, table
from backapp_core.model.jobs import Job
from backapp_core.model.names import to_line, to_text
from backapp_core.model.quantities import count
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.stores import RunFilter

_PLACES = {
    name: f"{__name__}:{place}"
    for name, place in (
        ("add", "add"),
        ("list", "list_jobs"),
        ("show", "show"),
        ("edit", "edit"),
        ("remove", "remove"),
        ("run", "run"),
    )
}


@click.group(
    cls=Group,
    places=_PLACES,
    examples="""
        backapp job add documents ~/Documents -r /srv/backup --schedule '30 2 * * *'
        backapp job run documents
    """,
)
@global_options
def job() -> None:
    """Keep backups under a name, and run them.

    A job remembers what to back up, whereto, when, and how long to keep it.
    """


@click.command(
    cls=Command,
    examples="""
        backapp job add documents ~/Documents -r /srv/backup
        backapp job add web /srv/www -r sftp://me@nas/backup --schedule '30 2 * * *' --keep-daily 7
    """,
)
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=values.path_bytes)
@job_options
@repository_options
@global_options
@click.pass_context
def add(ctx: click.Context, name: str, paths: tuple[bytes, ...]) -> None:
    """Add a job that backs up each PATH.

    The password itself is never stored: name a file or a command that has it. Nothing runs by
    itself; a job with a schedule is run by whatever calls 'backapp job run NAME' at the due time
    (see cron, systemd).
    """
    session = ctx.ensure_object(Session)
    made = new_job(session, ctx, name, paths)
    session.engine.check_job(made)
    session.engine.jobs.add(made)
    _show_job(session, made, "added")


@click.command(
    cls=Command,
    examples="""
        backapp job edit documents --schedule '0 3 * * 1-5' --time-zone Europe/Vienna
        backapp job edit documents --exclude '*.iso' --clear retention
    """,
)
@click.argument("name", shell_complete=complete_job)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=values.path_bytes)
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(["schedule", "retention", "filters", "tags", "keys"]),
    help="Forget all of these first (repeatable).",
)
@job_options
@repository_options
@global_options
@click.pass_context
def edit(ctx: click.Context, name: str, paths: tuple[bytes, ...], clear: tuple[str, ...]) -> None:
    """Change what is given of a job; the rest stays.

    Options of one sort belong together: given PATHs replace all paths, given --keep options the
    whole policy, given --tag options all tags.
    """
    session = ctx.ensure_object(Session)
    store = session.engine.jobs
    changed = edited(session, ctx, store.get(name), paths, frozenset(clear))
    session.engine.check_job(changed)
    store.replace(changed)
    _show_job(session, changed, "changed")


@click.command("list", cls=Command, examples="backapp job list")
@global_options
@click.pass_obj
def list_jobs(session: Session) -> None:
    """List the jobs, with their next and last runs."""
    engine = session.engine
    found = engine.jobs.list()
    if not found:
        session.output.remark("no jobs yet; add one with: backapp job add NAME PATH... -r URL")
        return
    rows: list[tuple[str, str, str, str]] = []
    for one in found:
        session.output.message("job", _fields(session, one))
        due_at = engine.next_due(one)
        due = local_time(due_at) if due_at else ("never" if one.is_enabled else "disabled")
        latest = engine.runs.list(RunFilter(job_name=one.name, limit=1))
        last = _last(latest[0]) if latest else "never ran"
        rows.append((one.name, due, last, "\n".join(map(to_text, one.roots))))
    session.output.lines(table(("Name", "Next due", "Last run", "Paths"), rows))


@click.command(cls=Command, examples="backapp job show documents")
@click.argument("name", shell_complete=complete_job)
@global_options
@click.pass_obj
def show(session: Session, name: str) -> None:
    """Show everything about a job, and when it is due next."""
    _show_job(session, session.engine.jobs.get(name), "")


@click.command(cls=Command, examples="backapp job remove documents")
@click.argument("name", shell_complete=complete_job)
@global_options
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Remove a job; its snapshots and its runs stay."""
    session.engine.jobs.remove(name)
    session.output.message("removed", {"job": name})
    session.output.remark(f"removed job {name}; its snapshots and runs stay")


@click.command(cls=Command, examples="backapp job run documents")
@click.argument("name", shell_complete=complete_job)
@lock_option
@line_options
@global_options
@click.pass_obj
def run(session: Session, name: str) -> int:
    """Run a job now: back up, then apply its policy.

    A password that the job does not know where to find is taken from where other commands find it.
    The exit code is that of a backup: 3 if some entries could not be read, 1 if it failed.
    """
    engine = session.engine
    known = session.settings.repository_at(engine.jobs.get(name).repository)
    with session.stoppable():
        ended = engine.run_job(name, keys=session.keys(known))
    show_end(session, ended)
    if ended.state is RunState.COMPLETED:
        if ended.has_warnings and ended.counts:
            session.output.note(
                f"warning: {count(ended.counts.problems, 'problem')}; "
                f"see: backapp runs show {ended.id[:8]}"
            )
        return ExitCode.INCOMPLETE if ended.has_warnings else ExitCode.DONE
    if ended.state is RunState.CANCELLED:
        session.output.error("the run was stopped", session.stopping.exit_code)
        return session.stopping.exit_code
    session.output.error(f"the run failed: {ended.error}", ExitCode.FAILED)
    return ExitCode.FAILED


def _last(run: Run) -> str:
    return f"{state_words(run)}\n{local_time(run.requested_at)}"


def _show_job(session: Session, one: Job, what: str) -> None:
    session.output.message("job", _fields(session, one))
    if what:
        session.output.remark(f"{what} job {one.name}")
    session.output.lines(described(one, session.engine.next_due(one)))


def _fields(session: Session, one: Job) -> dict[str, object]:
    from backapp_core.codec import to_plain

    plain: dict[str, object] = to_plain(one)
    shown = {**plain, "repository": to_line(one.repository)}
    return {**shown, "next_due_at": iso_time(session.engine.next_due(one))}
