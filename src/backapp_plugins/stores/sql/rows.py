"""Rows to model values and back; SQL knows columns, everybody else knows the model."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from backapp_core.plugin_api import (
    Event,
    InvalidName,
    InvalidSettings,
    Job,
    Run,
    StoreUnavailable,
    check_job_name,
    event_from_plain,
    event_to_plain,
    from_plain,
    to_line,
    to_plain,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_RUN_ID = 64


def moment_to_column(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND


def moment_from_column(microseconds: int) -> datetime:
    """Return the moment that `moment_to_column` wrote."""
    return _EPOCH + microseconds * _MICROSECOND


def job_to_row(job: Job) -> dict[str, Any]:
    """Return the columns of a job."""
    return {"name": job.name, "body": _to_body(to_plain(job))}


def job_from_body(body: str) -> Job:
    """Return the job that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    try:
        return from_plain(json.loads(body), Job, source="job")
    except (InvalidSettings, ValueError) as error:
        raise StoreUnavailable(_unreadable("job", error)) from error


def run_to_row(run: Run) -> dict[str, Any]:
    """Return the columns of a run.

    Raises:
        InvalidName: If its id or the name of its job cannot be kept in a column.
    """
    check_job_name(run.job_name)
    if not is_run_id(run.id):
        raise InvalidName(f"'{to_line(run.id[:_LONGEST_RUN_ID])}' cannot be the id of a run")
    return {
        "id": run.id,
        "job_name": run.job_name,
        "state": run.state.value,
        "requested_at": moment_to_column(run.requested_at),
        "due_at": None if run.due_at is None else moment_to_column(run.due_at),
        "body": _to_body(to_plain(run)),
    }


def is_run_id(text: str) -> bool:
    """Say whether ``text`` can be the id of a run, or the beginning of one."""
    return 0 < len(text) <= _LONGEST_RUN_ID and text.isascii() and text.isprintable()


def run_from_body(body: str) -> Run:
    """Return the run that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    try:
        return from_plain(json.loads(body), Run, source="run")
    except (InvalidSettings, ValueError) as error:
        raise StoreUnavailable(_unreadable("run", error)) from error


def event_to_body(event: Event) -> str:
    """Return the column that holds an event."""
    return _to_body(event_to_plain(event))


def event_from_body(body: str) -> Event:
    """Return the event that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    try:
        return event_from_plain(json.loads(body))
    except (InvalidSettings, ValueError) as error:
        raise StoreUnavailable(_unreadable("event", error)) from error


def _to_body(plain: Any) -> str:
    return json.dumps(plain, separators=(",", ":"))


def _unreadable(noun: str, error: Exception) -> str:
    return f"a {noun} in the store cannot be read: {to_line(str(error))}"
