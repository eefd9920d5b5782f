"""Show snapshots as folders."""

from collections.abc import Callable
from pathlib import Path

import click

from backapp_cli import values
from backapp_cli.filters import filter_options
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_core.errors import InputError, PartMissing
from backapp_core.model.snapshots import SnapshotFilter


@click.command(
    cls=Command,
    examples="""
        backapp mount /mnt/backup -r /srv/backup
        backapp mount /mnt/backup --host web -r /srv/backup
    """,
)
@click.argument("mountpoint", type=values.PathText())
@click.option("--allow-other", is_flag=True, help="Let other users of this machine look, too.")
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def mount(
    session: Session, *, mountpoint: str, allow_other: bool, snapshot_filter: SnapshotFilter
) -> None:
    """Show snapshots as folders, read-only, until they are unmounted or Ctrl-C is pressed.

    They stand in ids/, snapshots/, hosts/ and tags/, by id and by time. Needs FUSE and the extra
    'mount'. A file is fetched as far as it is read.
    """
    place = Path(mountpoint)
    serve = _server(place)
    engine = session.engine
    with session.repository() as repository:
        view = engine.upkeep(repository).view(engine.snapshots(repository, snapshot_filter))
        session.output.remark(f"snapshots are shown at {place} until it is unmounted")
        session.output.flush()
        serve(view, place, allows_others=allow_other, report=session.output.note)


def _server(place: Path) -> "Callable[..., None]":
    """Return what mounts.

    Raises:
        InputError: If there is no folder to mount on.
        PartMissing: If FUSE or a library for it is not installed.
    """
    if not place.is_dir():
        raise InputError(f"{place} is no folder; make one to mount on")
    try:
        from backapp_cli import fuse
    except (ImportError, OSError) as error:
        raise PartMissing(
            "mounting needs FUSE and a library for it; install the system's fuse package, and "
            "pip install 'backapp[mount]'"
        ) from error
    return fuse.serve
