"""Completion of names that are looked up: jobs, runs and plugins; nothing is asked or said."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from backapp_cli.session import Session
from backapp_cli.show import local_time
from backapp_core.errors import BackappError
from backapp_core.model.names import to_line, to_text
from backapp_core.ports.stores import RunFilter

_LookUp = Callable[[Session], Iterable[tuple[str, str]]]
_MOST_RUNS = 50


def _completer(look_up: _LookUp) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        del param
        try:
            known = list(look_up(ctx.ensure_object(Session)))
        except BackappError:
            # The shell shows whatever is written in the middle of the line being typed.
            known = []
        return [
            CompletionItem(name, help=to_line(words))
            for name, words in known
            if name.startswith(incomplete)
        ]

    return complete


def _jobs(session: Session) -> Iterable[tuple[str, str]]:
    for job in session.engine.jobs.list():
        yield job.name, " ".join(map(to_text, job.roots))


def _runs(session: Session) -> Iterable[tuple[str, str]]:
    for run in session.engine.runs.list(RunFilter(limit=_MOST_RUNS)):
        yield run.id[:8], f"{run.job_name} {run.state} {local_time(run.requested_at)}"


def _archivers(session: Session) -> Iterable[tuple[str, str]]:
    for offer in session.engine.plugins.archivers.offers:
        yield offer.kind.name, f"from {offer.distribution}"


complete_job = _completer(_jobs)
complete_run = _completer(_runs)
complete_archiver = _completer(_archivers)
