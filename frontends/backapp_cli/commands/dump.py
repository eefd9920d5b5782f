"""Write one file of a snapshot, or a folder as a tar archive, to standard output or into a file."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import click

from backapp_cli import streams
from backapp_cli.filters import filter_options, snapshot_argument
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_cli.values import PathText, path_bytes
from backapp_core.errors import InputError, TargetError
from backapp_core.model.names import to_text
from backapp_core.model.snapshots import SnapshotFilter


@click.command(
    cls=Command,
    examples="""
        backapp dump latest /etc/fstab -r /srv/backup
        backapp dump latest /home/me -r /srv/backup | tar -x -C /tmp/back
        backapp dump latest /srv/db.dump --target db.dump -r /srv/backup
    """,
)
@snapshot_argument()
@click.argument("wanted", metavar="PATH", type=path_bytes)
@click.option(
    "-a",
    "--archive",
    type=click.Choice(["tar"]),
    default="tar",
    show_default=True,
    help="Format for a folder.",
)
@click.option(
    "-t",
    "--target",
    metavar="FILE",
    type=PathText(path_type=Path),
    help="Write into this file, which appears when it is whole.",
)
@filter_options
@repository_options
@line_options
@global_options
@click.pass_obj
def dump(
    session: Session,
    *,
    snapshot: str,
    wanted: bytes,
    archive: str,
    target: Path | None,
    snapshot_filter: SnapshotFilter,
) -> None:
    """Write a file of a snapshot out, or a folder as a tar archive.

    PATH is absolute, as it was on the machine; / is the whole snapshot. What comes out is verified,
    but damage may be noticed after a part was written: look at the exit code, or use --target.
    """
    del archive  # there is one
    session.output.has_data_on_stdout = target is None
    if target is None:
        _refuse_useless_output()
    with session.repository() as repository:
        if target is not None:
            session.engine.check_target(repository, target)
        found = session.engine.find_snapshot(repository, snapshot, snapshot_filter)

        def write(out: BinaryIO) -> None:
            session.engine.dump(repository, found, wanted, out)

        if target is None:
            write(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            _into_file(target, write)
    if target is not None:
        session.output.message(
            "summary",
            {
                "snapshot_id": found.id,
                "item": to_text(wanted),
                "target": to_text(os.fsencode(target)),
                "size": target.stat().st_size,
            },
        )


def _refuse_useless_output() -> None:
    """Refuse to write what may be anything to where control characters act.

    Raises:
        InputError: If standard output is a terminal, or closed.
    """
    if 1 in streams.closed_at_start:
        raise InputError("standard output is closed; name a file with --target")
    if sys.stdout.isatty():
        raise InputError(
            "standard output is a terminal; name a file with --target, or pipe it somewhere"
        )


def _into_file(target: Path, write: Callable[[BinaryIO], None]) -> None:
    """Call ``write`` with a temporary file beside ``target`` that takes its name in the end.

    Raises:
        TargetError: If it cannot be written; nothing is left behind.
    """
    try:
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name[:64]}.", delete=False
        ) as file:
            temporary = Path(file.name)
            try:
                write(cast("BinaryIO", file))
                file.flush()
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise TargetError(f"{target} cannot be written: {error.strerror or error}") from error
