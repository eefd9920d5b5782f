"""The keys of a repository: which passwords open it."""

import click

from backapp_cli import values
from backapp_cli.grammar import Command, Group
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_cli.show import iso_time, local_time, table
from backapp_core.model.repositories import KeyInfo

_PLACES = {
    "list": f"{__name__}:list_keys",
    "add": f"{__name__}:add",
    "remove": f"{__name__}:remove",
    "passwd": f"{__name__}:passwd",
}
_new_password = click.option(
    "--new-password-file",
    metavar="FILE",
    type=values.PathText(),
    help="File that holds the new password; without it, it is asked for twice.",
)


@click.group(
    cls=Group,
    places=_PLACES,
    examples="""
        backapp key list -r /srv/backup
        backapp key passwd -r /srv/backup
    """,
)
@global_options
def key() -> None:
    """Choose which passwords open a repository.

    Each password has a key of its own. Whoever once opened the repository may have kept what all
    keys open; a key that is removed does not lock them out of a copy.
    """


@click.command(cls=Command, examples="backapp key list -r /srv/backup")
@repository_options
@line_options
@global_options
@click.pass_obj
def list_keys(session: Session) -> None:
    """List the keys; '*' is the one in use."""
    with session.repository() as repository:
        found = session.engine.upkeep(repository).keys()
    for one in found:
        session.output.message(
            "key",
            {
                "current": one.is_current,
                "id": one.id,
                "user_name": one.username,
                "host_name": one.hostname,
                "created": iso_time(one.created_at),
            },
        )
    rows = [
        (
            f"{'*' if one.is_current else ' '}{one.id[:8]}",
            one.username,
            one.hostname,
            local_time(one.created_at),
        )
        for one in found
    ]
    session.output.lines(table((" ID", "User", "Host", "Created"), rows))


@click.command(
    cls=Command,
    examples="""
        backapp key add -r /srv/backup
        backapp key add --new-password-file ~/.second-password -r /srv/backup
    """,
)
@_new_password
@repository_options
@line_options
@global_options
@click.pass_obj
def add(session: Session, new_password_file: str | None) -> None:
    """Let another password open the repository, too."""
    with session.stoppable(), session.repository() as repository:
        made = session.engine.upkeep(repository).add_key(
            session.new_password(new_password_file or "")
        )
    _show_made(session, "added", made)


@click.command(cls=Command, examples="backapp key remove 1a2b3c4d -r /srv/backup")
@click.argument("name", metavar="KEY")
@repository_options
@line_options
@global_options
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Let the password of a key open the repository no more.

    KEY is an id, or the beginning of one. The key in use is not removed.
    """
    with session.stoppable(), session.repository() as repository:
        session.engine.upkeep(repository).remove_key(name)
    session.output.message("removed", {"id": name})
    session.output.remark(f"removed key {name}")


@click.command(cls=Command, examples="backapp key passwd -r /srv/backup")
@_new_password
@repository_options
@line_options
@global_options
@click.pass_obj
def passwd(session: Session, new_password_file: str | None) -> None:
    """Change the password: add a key for the new one, then remove the one in use."""
    with session.stoppable(), session.repository() as repository:
        new_password = session.new_password(new_password_file or "")
        made = session.engine.upkeep(repository).change_password(new_password)
    _show_made(session, "changed", made)


def _show_made(session: Session, what: str, made: KeyInfo) -> None:
    session.output.message(what, {"id": made.id})
    session.output.remark(f"the new password has key {made.id[:8]}")
