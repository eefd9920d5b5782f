"""Jobs, runs and hostile words for stores, shared by `store_contract` and tests of stores."""

from datetime import UTC, datetime
from typing import Any

from backapp_core.model.jobs import Job
from backapp_core.model.retention import Retention, Within
from backapp_core.model.runs import Run, RunState
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Counts

AT = datetime(2026, 3, 29, 1, 2, 3, 456_789, tzinfo=UTC)
HOSTILE = [
    "",
    "'",
    '"; DROP TABLE runs; --',
    "%",
    "_",
    "a%",
    "\\",
    "*",
    "\0",
    "\n",
    "\ud800",
    "é",
    "x" * 10_000,
]
JOB = Job(
    name="home",
    repository="/srv/backup",
    roots=(b"/home", b"/srv/\xff\n"),
    scanner_settings={
        "exclude": ["*.o", "%_'\"; DROP TABLE jobs"],
        "limit": 5,
        "deep": {"on": True, "off": None},
    },
    schedule=Schedule("30 2 * * *", "Europe/Vienna"),
    retention=Retention(daily=7, within=Within(months=1), tags=(frozenset({"keep", "forever"}),)),
    tags=("nightly",),
    password_file="/etc/backapp/password",  # noqa: S106  # a path, not a password
    identity_files=("/etc/backapp/key",),
    is_enabled=False,
)
COUNTS = Counts(files_new=3, files_unmodified=2**40, problems=1, stored_bytes=2**62)


def make_run(number: int = 1, **fields: Any) -> Run:
    """Return a requested run with an id made of ``number``."""
    plain: dict[str, Any] = {
        "id": f"{number:032x}",
        "job_name": "home",
        "state": RunState.REQUESTED,
        "requested_at": AT,
    }
    return Run(**{**plain, **fields})
