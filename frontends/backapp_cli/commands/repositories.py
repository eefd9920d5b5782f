"""Repositories as such: create one, check it."""

from pathlib import Path

import click

from backapp_cli import values
from backapp_cli.complete import complete_archiver
from backapp_cli.exits import ExitCode
from backapp_cli.grammar import Command
from backapp_cli.options import global_options, line_options, repository_options, source_options
from backapp_cli.plain import finding_fields
from backapp_cli.session import Session
from backapp_core.errors import InputError
from backapp_core.model.names import to_line, to_text
from backapp_core.model.quantities import count, size
from backapp_core.model.repositories import DEFAULT_ARCHIVER, Finding, Severity
from backapp_core.model.subsets import DataSubset

_SEALED_TO_RECIPIENTS = "targz"
"""The format that knows age recipients."""
_MOST_PATHS_SHOWN = 10


@click.command(
    cls=Command,
    examples="""
        backapp init -r /srv/backup
        backapp init -r sftp://me@nas/srv/backup --password-file ~/.backup-password
        backapp init -r /srv/backup -o chunker=rabin
        backapp init -r /srv/backup --archiver targz
        backapp init -r /srv/backup --recipient age1qyqszqgpqyqszqgp...
    """,
)
@click.option(
    "--archiver",
    metavar="NAME",
    shell_complete=complete_archiver,
    help=f"Format to write.  [default: {DEFAULT_ARCHIVER}; {_SEALED_TO_RECIPIENTS} if there is a "
    "recipient]",
)
@click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the archiver (repeatable); 'backapp plugins -v' lists them.",
)
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="RECIPIENT",
    help="Encrypt to this age recipient, such as age1... (repeatable).",
)
@click.option(
    "--recipients-file",
    "--age-recipients-file",
    "recipients_files",
    multiple=True,
    metavar="FILE",
    type=values.PathText(),
    help="Encrypt to the age recipients in this file (repeatable).",
)
@click.option(
    "--copy-chunker-params",
    "is_twin",
    is_flag=True,
    help="Cut files as --from-repo does, so that copies share what is stored already.",
)
@source_options
@repository_options
@line_options
@global_options
@click.pass_obj
def init(
    session: Session,
    *,
    is_twin: bool,
    archiver: str | None,
    options: tuple[str, ...],
    recipients: tuple[str, ...],
    recipients_files: tuple[str, ...],
) -> None:
    """Create a repository.

    Nothing may stand at the address yet. What is written there can be read without this program,
    too: the default, restic, is the deduplicated and encrypted format of that program and needs a
    password; targz is ordinary .tar.gz archives, inside age envelopes if recipients are given.
    """
    from backapp_cli.archiver_options import plain_options

    engine = session.engine
    listed = [*recipients, *(one for name in recipients_files for one in _recipients_in(name))]
    archiver = archiver or (_SEALED_TO_RECIPIENTS if listed else DEFAULT_ARCHIVER)
    plain = plain_options(
        values.key_values(options), engine.plugins.archivers.get(archiver).settings
    )
    if listed:
        plain["recipients"] = listed
    if is_twin:
        with session.source() as source:
            plain = {**engine.upkeep(source).twin_options(), **plain}
    known = session.settings.repository_at(session.address)
    keys = session.keys(known, is_new=True)
    with (
        session.stoppable(),
        engine.create_repository(
            known.url, archiver=archiver, options=plain, keys=keys
        ) as repository,
    ):
        info = repository.info
        address = engine.address_of(repository)
        found = engine.upkeep(repository).enforcement()
    session.output.message(
        "initialized",
        {
            "id": info.id,
            "repository": to_line(address),
            "archiver": info.archiver,
            "version": info.version,
            **({"enforced": found.enforced, "not_enforced": found.ignored} if found else {}),
        },
    )
    sealed = "encrypted " if info.is_encrypted else ""
    session.output.remark(f"created {sealed}{info.archiver} repository {info.id[:8]} at {address}")
    if info.is_encrypted:
        opener = "key" if listed else "password"
        session.output.remark(
            f"keep the {opener} that opens it in a second place; nothing opens without it"
        )
    if found:
        session.output.remark(f"the store enforces: {', '.join(found.enforced) or 'nothing'}")
    if found and found.ignored:
        session.output.remark(f"the store does not enforce: {', '.join(found.ignored)}")


@click.command(
    cls=Command,
    examples="""
        backapp check -r /srv/backup
        backapp check --read-data -r /srv/backup
        backapp check --read-data-subset 1/12 -r /srv/backup
    """,
)
@click.option("--read-data", is_flag=True, help="Read and verify every stored byte.")
@click.option(
    "--read-data-subset",
    "subset",
    metavar="SHARE",
    type=values.data_subset,
    help="Read and verify part n of t (n/t), or at random a percentage (2.5%) or amount (10G).",
)
@click.option(
    "--accept-missing",
    is_flag=True,
    help="Snapshots that vanished were meant to: report them for the last time.",
)
@repository_options
@line_options
@global_options
@click.pass_obj
def check(
    session: Session, *, read_data: bool, subset: DataSubset | None, accept_missing: bool
) -> int:
    """Look whether everything that snapshots need is there and whole.

    Without --read-data the stored objects are only looked up. Snapshots that this machine saw
    before and that are gone are reported, too. Damage makes the exit code 1.
    """
    share = _share(subset, everything=read_data)
    with session.stoppable(), session.repository() as repository:
        report = session.engine.check(repository, read_data=share, accepts_missing=accept_missing)
    for finding in report.findings:
        _show_finding(session, finding)
    errors = sum(finding.severity is Severity.ERROR for finding in report.findings)
    session.output.message(
        "summary",
        {
            "num_errors": errors,
            "snapshots": report.snapshots,
            "objects": report.objects,
            "bytes_read": report.read_bytes,
        },
    )
    looked = f"{count(report.snapshots, 'snapshot')}, {count(report.objects, 'object')}"
    if share:
        looked += f", {size(report.read_bytes)} read"
    verdict = "no damage found" if report.is_clean else f"{count(errors, 'error')} found"
    session.output.line(f"{looked}: {verdict}")
    return ExitCode.DONE if report.is_clean else ExitCode.FAILED


def _share(subset: DataSubset | None, *, everything: bool) -> bool | DataSubset:
    if everything and subset:
        raise InputError("--read-data and --read-data-subset exclude each other; give one")
    return subset or everything


def _recipients_in(name: str) -> list[str]:
    try:
        text = Path(name).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"recipients file {name} cannot be read: {reason}") from error
    lines = (line.strip() for line in text.splitlines())
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise InputError(f"recipients file {name} names no recipient")
    return found


def _show_finding(session: Session, finding: Finding) -> None:
    output = session.output
    output.message("finding", finding_fields(finding))
    name = finding.object_name
    where = "" if finding.message.startswith(name) else f"{name}: "
    output.line(f"{finding.severity}: {where}{finding.message}")
    if finding.snapshot_ids:
        listed = ", ".join(one[:8] for one in finding.snapshot_ids)
        output.line(f"  snapshots: {listed}")
    for path in finding.paths[:_MOST_PATHS_SHOWN]:
        output.line(f"  {to_text(path)}")
    if len(finding.paths) > _MOST_PATHS_SHOWN:
        output.line(f"  and {len(finding.paths) - _MOST_PATHS_SHOWN:,} more paths")
