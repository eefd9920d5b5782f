"""A machine goes on with the repository of the machine that it replaces."""

import click

from backapp_cli import values
from backapp_cli.assemble import Secret
from backapp_cli.commands.agent import this_agent
from backapp_cli.grammar import Command
from backapp_cli.options import agent_options, global_options
from backapp_cli.passwords import keys
from backapp_cli.session import Session


@click.command(
    cls=Command,
    examples="""
        backapp agent adopt documents
        backapp agent adopt documents --password-file from-the-sheet
    """,
)
@click.argument("repository")
@click.option(
    "--password-file",
    metavar="FILE",
    type=values.PathText(),
    help="File that holds the password; without it, it is asked for.",
)
@agent_options
@global_options
@click.pass_obj
def adopt(session: Session, *, repository: str, password_file: str | None) -> None:
    """Go on with REPOSITORY, whose password another machine made.

    For a machine that replaces one that is lost: after the server let it use the repository, the
    password from the recovery sheet is typed here, once. It is kept if it opens the repository.
    """
    asked = keys(Secret(file=password_file or ""), (), asking=session.asking)
    adopted = this_agent(session).adopt(repository, asked)
    session.output.message("adopted", {"repository": adopted.name, "id": adopted.id})
    session.output.remark(f"this machine opens {adopted.name} from now on")
