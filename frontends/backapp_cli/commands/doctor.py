"""Look for what would stand in the way."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backapp_cli.exits import ExitCode
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options
from backapp_cli.session import Session
from backapp_cli.sources import source_options
from backapp_cli.values import PathText, path_bytes
from backapp_core.model.requests import BackupRequest

if TYPE_CHECKING:
    from backapp_core.ports.surroundings import Keys

_MARKS = {"fine": "ok", "note": "note", "problem": "PROBLEM"}


@click.command(
    cls=Command,
    examples="""
        backapp doctor
        backapp doctor ~/Documents -r /srv/backup
        backapp doctor --target /mnt/usb --write-test -r sftp://me@nas/srv/backup
    """,
)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=path_bytes)
@source_options
@click.option(
    "--target",
    metavar="FOLDER",
    type=PathText(path_type=Path),
    help="Also look whether a restore to this folder would keep everything.",
)
@click.option(
    "--write-test", is_flag=True, help="Also write small test files to the places concerned."
)
@repository_options
@line_options
@global_options
@click.pass_obj
def doctor(
    session: Session,
    *,
    paths: tuple[bytes, ...],
    scanner_settings: dict[str, object],
    target: Path | None,
    write_test: bool,
) -> int:
    """Look whether backups and restores can work here.

    Can every PATH be read, can the repository be reached and opened, what would not be kept on this
    file system. Nothing is changed. Exit code 1 if there is a problem.
    """
    address, keys = _repository(session)
    found = session.engine.diagnose(
        address,
        sources=BackupRequest(roots=paths, scanner_settings=scanner_settings),
        target=target,
        keys=keys,
        probes_writing=write_test,
    )
    for one in found:
        session.output.message(
            "diagnosis",
            {"subject": one.subject, "verdict": str(one.verdict), "message": one.message},
        )
        if one.verdict != "fine" or not session.output.is_quiet:
            session.output.line(f"{_MARKS[one.verdict]:<8} {one.subject}: {one.message}")
    return ExitCode.DONE if all(one.is_fine for one in found) else ExitCode.FAILED


def _repository(session: Session) -> tuple[str, "Keys"]:
    from backapp_core.errors import InputError
    from backapp_core.ports.surroundings import NO_KEYS

    try:
        known = session.settings.repository_at(session.address)
    except InputError:
        if session.choices.repository:
            raise
        return "", NO_KEYS
    return known.url, session.keys(known)
