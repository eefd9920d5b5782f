"""What to back up, how, whereto, when, and kept how long."""

import re
from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from backapp_core.errors import InvalidName
from backapp_core.model.names import all_path_bytes, to_line
from backapp_core.model.retention import Retention
from backapp_core.model.schedules import Schedule

_LONGEST_SHOWN = 80
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_job_name(name: str) -> None:
    """Refuse what is no job name.

    Raises:
        InvalidName: If it is not 1 to 64 ASCII letters, digits, dots, dashes and underscores that
            begin with a letter or digit.
    """
    if not _JOB_NAME.fullmatch(name):
        raise InvalidName(
            f"'{to_line(name[:_LONGEST_SHOWN])}' is no job name; use up to 64 letters,"
            " digits, dots, dashes and underscores, beginning with a letter or digit"
        )


def _has_job_name(job: object, attribute: object, name: str) -> None:
    del job, attribute
    check_job_name(name)


@frozen
class BackupOptions:
    """What a repository is told about one backup."""

    hostname: str
    username: str
    tags: tuple[str, ...] = ()
    is_full: bool = False
    """Start a new chain: depend on nothing that was stored before."""
    rereads_all: bool = False
    """Read every file again instead of trusting size, times and inode."""
    parent_id: str | None = None
    """Compare with this snapshot; None lets the archiver choose the newest of the same host and
    roots."""
    skips_unchanged: bool = False
    """Make no snapshot if it would hold what the one that it is compared with holds."""
    reports_files: bool = False
    """Whether every file is told about by an event (`FileDone`)."""
    program: str = "backapp"


@frozen
class Job:
    """A backup that can be run again and again under one name."""

    name: str = field(validator=_has_job_name)
    repository: str
    """Address of the repository, without secrets."""
    roots: tuple[bytes, ...] = field(converter=all_path_bytes)
    """Absolute paths."""
    scanner: str = "files"
    scanner_settings: Mapping[str, object] = field(factory=dict[str, object])
    """Plain data that the scanner kind's settings class is made of (patterns, size limit)."""
    schedule: Schedule | None = None
    """None: runs only when asked to."""
    retention: Retention = Retention()
    """Applied after each completed run unless it is empty."""
    tags: tuple[str, ...] = ()
    password_file: str = ""
    """Path of a file with what opens the repository; the secret is never stored."""
    password_command: str = ""
    """Command that prints that secret."""
    identity_files: tuple[str, ...] = ()
    """Paths of age identity files."""
    skips_unchanged: bool = False
    """Whether a run makes no snapshot if nothing changed; agents always make one, for a receipt
    names it."""
    is_enabled: bool = True
    agent_id: str = ""
    """The machine that runs it; empty for the store's own machine."""
    due_after: datetime | None = None
    """Only later moments of the schedule count; set when the schedule was made or switched on."""
