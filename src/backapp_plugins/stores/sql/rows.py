"""Model values to columns and back; SQL knows columns, everybody else knows the model."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from attrs import evolve

from backapp_core.plugin_api import (
    Event,
    InvalidName,
    InvalidSettings,
    Job,
    RestoreOrder,
    Run,
    RunKind,
    RunState,
    StoreUnavailable,
    check_job_name,
    event_from_plain,
    event_to_plain,
    from_plain,
    to_line,
    to_plain,
)

_T = TypeVar("_T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_ID = 64
_MANAGED = "backapp"  # `server_api.SCHEME`, which commands without a server do not load


def moment_to_column(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND


def moment_from_column(microseconds: int) -> datetime:
    """Return the moment that `moment_to_column` wrote."""
    return _EPOCH + microseconds * _MICROSECOND


def optional_moment_to_column(moment: datetime | None) -> int | None:
    """Return microseconds since 1970; None for None."""
    return None if moment is None else moment_to_column(moment)


def optional_moment_from_column(microseconds: int | None) -> datetime | None:
    """Return the moment that `optional_moment_to_column` wrote."""
    return None if microseconds is None else moment_from_column(microseconds)


def seconds_to_column(seconds: float) -> int:
    """Return microseconds."""
    return round(seconds * 1_000_000)


def is_id(text: str) -> bool:
    """Say whether ``text`` can be the id of something, or the beginning of one."""
    return 0 < len(text) <= _LONGEST_ID and text.isascii() and text.isprintable()


def check_id(text: str, noun: str) -> str:
    """Return ``text`` if it can be the id of a ``noun``.

    Raises:
        InvalidName: If it cannot be kept in a column.
    """
    if not is_id(text):
        raise InvalidName(f"'{to_line(text[:_LONGEST_ID])}' cannot be the id of a {noun}")
    return text


def hash_of(text: str) -> str:
    """Return SHA-256 of any text, 64 hex digits, to be compared in its place."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def to_body(value: Any) -> str:
    """Return the column that holds a model value."""
    return _to_json(to_plain(value))


def from_body(body: str, kind: type[_T], noun: str) -> _T:
    """Return the model value that a column holds.

    Raises:
        StoreUnavailable: If this program cannot read it; names the ``noun``.
    """
    try:
        return from_plain(json.loads(body), kind, source=noun)
    except (InvalidSettings, ValueError) as error:
        raise StoreUnavailable(_unreadable(noun, error)) from error


def job_to_row(job: Job) -> dict[str, Any]:
    """Return the columns of a job."""
    scheme, _, repository_id = job.repository.partition(":")
    is_managed = scheme == _MANAGED and is_id(repository_id)
    return {
        "name": job.name,
        "body": to_body(job),
        "repository_id": repository_id if is_managed else "",
    }


def job_from_body(body: str) -> Job:
    """Return the job that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    return from_body(body, Job, "job")


def _repository_id(order: RestoreOrder) -> str:
    # An earlier version did not always know.
    return check_id(order.repository_id, "repository") if order.repository_id else ""


def run_to_row(run: Run) -> dict[str, Any]:
    """Return the columns of a run.

    Raises:
        InvalidName: If its id, the name of its job, its machine or its repository cannot be kept in
            a column.
    """
    if run.job_name or run.kind is not RunKind.RESTORE:
        check_job_name(run.job_name)
    if run.agent_id:
        check_id(run.agent_id, "machine")
    return {
        "id": check_id(run.id, "run"),
        "job_name": run.job_name,
        "state": run.state.value,
        "requested_at": moment_to_column(run.requested_at),
        "due_at": optional_moment_to_column(run.due_at),
        "agent_id": run.agent_id,
        "kind": run.kind.value,
        "started_at": optional_moment_to_column(run.started_at),
        "cancel_wished_at": optional_moment_to_column(run.cancel_wished_at),
        "body": to_body(run),
        # Of a backup it is known once it was claimed.
        **({"repository_id": _repository_id(run.restore)} if run.restore else {}),
    }


def run_from_row(row: Any) -> Run:
    """Return the run that a row holds; it needs the columns `RUN_COLUMNS`.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    run = from_body(row.body, Run, "run")
    try:
        return evolve(
            run,
            state=RunState(row.state),
            agent_id=row.agent_id,
            kind=RunKind(row.kind),
            started_at=optional_moment_from_column(row.started_at),
            cancel_wished_at=optional_moment_from_column(row.cancel_wished_at),
        )
    except ValueError as error:
        raise StoreUnavailable(_unreadable("run", error)) from error


RUN_COLUMNS = ("id", "body", "state", "agent_id", "kind", "started_at", "cancel_wished_at")
"""What `run_from_row` reads, and the id."""


def event_to_body(event: Event) -> str:
    """Return the column that holds an event."""
    return _to_json(event_to_plain(event))


def event_from_body(body: str) -> Event:
    """Return the event that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    try:
        return event_from_plain(json.loads(body))
    except (InvalidSettings, ValueError) as error:
        raise StoreUnavailable(_unreadable("event", error)) from error


def _to_json(plain: Any) -> str:
    return json.dumps(plain, separators=(",", ":"))


def _unreadable(noun: str, error: Exception) -> str:
    return f"a {noun} in the store cannot be read: {to_line(str(error))}"
