"""The recovery sheet of a repository that this machine fills."""

import sys
from typing import TYPE_CHECKING

import click

from backapp_cli.commands.agent import this_agent
from backapp_cli.exits import ExitCode
from backapp_cli.grammar import Command
from backapp_cli.options import agent_options, global_options
from backapp_cli.session import Session
from backapp_cli.show import local_time
from backapp_core.errors import InputError
from backapp_core.processes import host_name

if TYPE_CHECKING:
    from backapp_core.engine.agent_sheet import Sheet


@click.command(
    cls=Command,
    examples="""
        backapp agent sheet documents
        backapp agent sheet documents --print > /dev/usb/lp0
    """,
)
@click.argument("repository")
@click.option("--again", is_flag=True, help="Show a sheet that was confirmed before.")
@click.option(
    "--print", "prints", is_flag=True, help="Write it to whatever standard output is; ask nothing."
)
@agent_options
@global_options
@click.pass_obj
def sheet(session: Session, *, repository: str, again: bool, prints: bool) -> int:
    """Show what opens REPOSITORY when this machine is lost, to be kept on paper.

    At the end a part of the password is asked back: from then on the repository counts as
    protected.
    """
    _check_output(prints)
    here = this_agent(session)
    found = here.sheet(repository)
    is_confirmed = found.repository.sheet_confirmed_at is not None
    _check_first(found, again)
    if is_confirmed:
        session.output.note("warning: whoever sees what follows can read every backup in it")
    _show(session, found)
    if prints or is_confirmed:
        return ExitCode.DONE
    if not found.is_confirmed_by(_asked(session)):
        session.output.error(
            "that is not how the password ends, so the repository stays unprotected; "
            "give the command again when the sheet is at hand",
            ExitCode.FAILED,
        )
        return ExitCode.FAILED
    here.confirm(found)
    session.output.remark(f"{found.repository.name} is protected: its sheet is kept")
    return ExitCode.DONE


def _check_output(prints: bool) -> None:
    if not prints and not sys.stdout.isatty():
        raise InputError(
            "the sheet holds the password and standard output is no terminal; "
            "use --print if it is to go there"
        )


def _check_first(found: "Sheet", again: bool) -> None:
    confirmed_at = found.repository.sheet_confirmed_at
    if confirmed_at is not None and not again:
        raise InputError(
            f"the sheet of {found.repository.name} was confirmed on {local_time(confirmed_at)}; "
            "to show it again use --again"
        )


def _show(session: Session, found: "Sheet") -> None:
    now = session.engine.surroundings.clock.now()
    session.output.message(
        "sheet",
        {
            "repository": found.repository.name,
            "address": found.repository.address,
            "repository_id": found.repository.repository_id,
            "archiver": found.repository.archiver,
            "password": found.password,
        },
    )
    session.output.lines(found.lines(machine=host_name(), at=now))


def _asked(session: Session) -> str:
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to confirm the sheet on; the sheet stays to confirm")
    session.output.flush()
    with session.asking():
        sys.stderr.write("\nwrite it down, then type the last group of the password: ")
        sys.stderr.flush()
        return sys.stdin.readline()
