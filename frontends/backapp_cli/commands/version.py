"""Which version this is."""

from importlib import metadata

import click

from backapp_cli.grammar import Command
from backapp_cli.options import global_options
from backapp_cli.session import Session


@click.command(cls=Command, examples="backapp version")
@global_options
@click.pass_obj
def version(session: Session) -> None:
    """Show the version."""
    found = metadata.version("backapp")
    session.output.message("version", {"version": found})
    session.output.line(f"backapp {found}")
