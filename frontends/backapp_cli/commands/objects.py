"""Look into the objects of a repository, and remove its locks."""

import sys

import click

from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_core.model.quantities import count


@click.command(
    cls=Command,
    examples="""
        backapp unlock -r /srv/backup
        backapp unlock --remove-all -r /srv/backup
    """,
)
@click.option("--remove-all", is_flag=True, help="Remove locks of living processes, too.")
@repository_options
@line_options
@global_options
@click.pass_obj
def unlock(session: Session, remove_all: bool) -> None:
    """Remove locks that dead processes left behind.

    A process that is still at work notices that its lock is gone and stops before it changes
    anything that counts.
    """
    with session.repository() as repository:
        removed = session.engine.upkeep(repository).unlock(removes_all=remove_all)
    session.output.message("summary", {"removed": list(removed)})
    session.output.remark(f"removed {count(len(removed), 'lock')}")


@click.command(
    cls=Command,
    examples="""
        backapp cat config -r /srv/backup
        backapp cat snapshot latest -r /srv/backup
        backapp cat tree latest:/home/me -r /srv/backup
    """,
)
@click.argument("sort", metavar="TYPE")
@click.argument("name", metavar="[ID]", default="")
@repository_options
@line_options
@global_options
@click.pass_obj
def cat(session: Session, sort: str, name: str) -> None:
    """Write an object of a repository out, opened.

    TYPE is config, key, lock, snapshot, index, pack, blob or tree; ID names one, or is the
    beginning of its id. A tree is also SNAPSHOT:PATH.
    """
    session.output.has_data_on_stdout = True
    with session.repository() as repository:
        for part in session.engine.upkeep(repository).show(sort, name):
            sys.stdout.buffer.write(part)
            if sort not in {"pack", "blob"} and not part.endswith(b"\n"):
                sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
