"""A job from what was given on the command line, and back to words."""

import functools
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import click
from attrs import evolve

from backapp_cli import assemble, values
from backapp_cli.assemble import Secret
from backapp_cli.retention import described_rules, retention_options
from backapp_cli.session import Session
from backapp_cli.show import local_time
from backapp_cli.sources import source_options
from backapp_core.errors import InputError
from backapp_core.model.jobs import Job, check_job_name
from backapp_core.model.names import to_text
from backapp_core.model.retention import Retention
from backapp_core.model.schedules import Schedule

_FORM = "backapp_cli.job_form"


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a job; what they say is kept in the context for `new_job`, `edited`."""

    @functools.wraps(function)
    @click.pass_context
    def with_form(ctx: click.Context, *arguments: Any, **keywords: Any) -> Any:
        ctx.meta[_FORM] = {name: keywords.pop(name) for name in _NAMES}
        return function(*arguments, **keywords)

    for option in reversed(_OPTIONS):
        with_form = option(with_form)
    return with_form


def new_job(session: Session, ctx: click.Context, name: str, paths: Sequence[bytes]) -> Job:
    """Return the job that the options describe.

    Raises:
        InputError: If the name is none, no repository is named, or its address holds a password.
    """
    check_job_name(name)
    return _with_form(session, ctx, Job(name, _address(session), _absolute(paths)))


def edited(
    session: Session,
    ctx: click.Context,
    job: Job,
    paths: Sequence[bytes],
    cleared: frozenset[str],
) -> Job:
    """Return ``job`` with what is ``cleared`` gone and what was given in its place.

    Raises:
        InputError: If nothing was given, or the address of another repository holds a password.
    """
    before = job
    for name in cleared:
        job = _CLEAR[name](job)
    if paths:
        job = evolve(job, roots=_absolute(paths))
    if session.choices.repository:
        job = evolve(job, repository=_address(session))
    job = _with_form(session, ctx, job)
    if job == before and not _says_something(session, ctx, paths, cleared):
        raise InputError("nothing to change; name paths or options, as in: job edit --help")
    return job


def described(job: Job, due_at: datetime | None) -> list[str]:
    """Return what is known of ``job`` in lines of words."""
    lines = [
        f"name:       {job.name}",
        f"repository: {job.repository}",
        *(f"path:       {to_text(root)}" for root in job.roots),
        *(f"filter:     {name} = {_shown(value)}" for name, value in job.scanner_settings.items()),
        f"schedule:   {_schedule(job)}",
        f"next due:   {local_time(due_at) if due_at else 'never'}",
        f"keeps:      {', '.join(described_rules(job.retention)) or 'everything'}",
    ]
    if job.tags:
        lines.append(f"tags:       {', '.join(job.tags)}")
    if job.skips_unchanged:
        lines.append("skips:      what is unchanged")
    if job.password_file:
        lines.append(f"password:   from file {job.password_file}")
    if job.password_command:
        lines.append(f"password:   from command {job.password_command}")
    lines.extend(f"identity:   {name}" for name in job.identity_files)
    if not job.is_enabled:
        lines.append("enabled:    no")
    return lines


_OPTIONS: tuple[Callable[..., Any], ...] = (
    source_options,
    click.option(
        "--tag",
        multiple=True,
        metavar="TAG[,TAG...]",
        type=values.utf8_text,
        help="Tag its snapshots.",
    ),
    click.option(
        "--schedule", metavar="EXPRESSION", help="When it is due, such as '30 2 * * 1-5'."
    ),
    click.option("--time-zone", metavar="NAME", help="Such as Europe/Vienna (default: UTC)."),
    click.option("--scheduler", metavar="NAME", help="Who reads the expression (default: cron)."),
    retention_options,
    click.option(
        "--skip-if-unchanged/--always-save",
        "skips_unchanged",
        default=None,
        help="Whether no snapshot is made if nothing changed.",
    ),
    click.option("--enable/--disable", "is_enabled", default=None, help="Whether it is ever due."),
)
_NAMES = (
    "scanner_settings",
    "tag",
    "schedule",
    "time_zone",
    "scheduler",
    "retention",
    "skips_unchanged",
    "is_enabled",
)
_CLEAR: dict[str, Callable[[Job], Job]] = {
    "schedule": lambda job: evolve(job, schedule=None),
    "retention": lambda job: evolve(job, retention=Retention()),
    "filters": lambda job: evolve(job, scanner_settings={}),
    "tags": lambda job: evolve(job, tags=()),
    "keys": lambda job: evolve(job, password_file="", password_command="", identity_files=()),
}


def _says_something(
    session: Session, ctx: click.Context, paths: Sequence[bytes], cleared: frozenset[str]
) -> bool:
    form: dict[str, Any] = ctx.meta[_FORM]
    given = (
        form["scanner_settings"],
        form["tag"],
        form["schedule"],
        form["time_zone"],
        form["scheduler"],
        form["is_enabled"] is not None,
        form["skips_unchanged"] is not None,
        not form["retention"].is_empty,
        session.choices.repository,
        session.choices.identity_files,
        _names_secret(session),
    )
    return bool(paths or cleared or any(given))


def _with_form(session: Session, ctx: click.Context, job: Job) -> Job:
    form: dict[str, Any] = ctx.meta[_FORM]
    job = _with_keys(session, job)
    job = evolve(
        job,
        scanner_settings={**job.scanner_settings, **form["scanner_settings"]},
        schedule=_new_schedule(job.schedule, form),
    )
    if not form["retention"].is_empty:
        job = evolve(job, retention=form["retention"])
    if form["tag"]:
        job = evolve(job, tags=values.tags(form["tag"]))
    if form["skips_unchanged"] is not None:
        job = evolve(job, skips_unchanged=form["skips_unchanged"])
    if form["is_enabled"] is not None:
        job = evolve(job, is_enabled=form["is_enabled"])
    return job


def _new_schedule(present: Schedule | None, form: dict[str, Any]) -> Schedule | None:
    given = {
        name: form[key]
        for name, key in (
            ("expression", "schedule"),
            ("time_zone", "time_zone"),
            ("scheduler", "scheduler"),
        )
        if form[key]
    }
    if not given:
        return present
    if present is None and "expression" not in given:
        raise InputError("a time zone without a schedule says nothing; give --schedule, too")
    return evolve(present or Schedule(given["expression"]), **given)


def _with_keys(session: Session, job: Job) -> Job:
    """Note where the secrets are kept, by absolute path since a job runs from anywhere."""
    is_known = not session.choices.repository and bool(job.password_file or job.password_command)
    known = session.settings.repository_at(job.repository)
    found = assemble.secret(
        session.choices, Secret(file=known.password_file, command=known.password_command)
    )
    if (found.file or found.command) and not (is_known and not _names_secret(session)):
        job = evolve(
            job,
            password_file=_absolute_text(found.file) if found.file else "",
            password_command=found.command,
        )
    identities = assemble.identity_files(session.choices, known.identity_files)
    if identities:
        job = evolve(job, identity_files=tuple(map(_absolute_text, identities)))
    return job


def _names_secret(session: Session) -> bool:
    return bool(session.choices.password_file or session.choices.password_command)


def _address(session: Session) -> str:
    from backapp_core.engine.addresses import parse_address, without_secret

    url = session.settings.repository_at(session.address).url
    if without_secret(url) != url:
        raise InputError(
            "the repository address holds a password, which a job must not; "
            "leave it out and use what the destination offers instead (keys, a credentials file)"
        )
    parsed = parse_address(url)
    return parsed.text if parsed.scheme else _absolute_text(parsed.text)


def _absolute(paths: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(map(_absolute_source, paths))


def _absolute_source(path: bytes) -> bytes:
    plain = os.path.abspath(path)  # noqa: PTH100  # bytes, and links stay
    # A slash stays behind a link: it means the folder that the link leads to when the job runs.
    is_followed = path.endswith((b"/", b"/.")) and os.path.islink(plain)  # noqa: PTH114  # bytes
    return plain + b"/" if is_followed else plain


def _absolute_text(name: str) -> str:
    path = Path(name).expanduser().absolute()
    # Only what is followed by `..` needs looking at: other links may be changed on purpose later.
    return str(path.resolve() if ".." in path.parts else path)


def _schedule(job: Job) -> str:
    if job.schedule is None:
        return "none; it runs when somebody runs it"
    return f"{job.schedule.expression} ({job.schedule.time_zone})"


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, cast("list[object]", value)))
    return str(value).lower() if isinstance(value, bool) else str(value)
