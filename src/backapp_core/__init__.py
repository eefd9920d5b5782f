"""BackApp: a backup engine to import.

::

    import backapp_core

    engine = backapp_core.assemble()
    with engine.create_repository("/srv/backup") as repository:
        result = engine.backup(repository, ["/home/me/documents"])
        print(result.snapshot.short_id, result.snapshot.counts.files)
"""

from backapp_core.assembly import assemble, load_plugins
from backapp_core.engine import Engine
from backapp_core.engine.keys import keys_from
from backapp_core.errors import BackappError
from backapp_core.events import (
    Event,
    EventSink,
    FanOut,
    FileDone,
    Level,
    LogLine,
    Problem,
    Progress,
    Recording,
    RunMoved,
    SnapshotSaved,
    Verb,
    void,
)
from backapp_core.model.changes import Change, ChangeKind, DiffStats
from backapp_core.model.diagnoses import Diagnosis, Verdict
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.jobs import Job
from backapp_core.model.names import from_text, to_text
from backapp_core.model.requests import BackupRequest, FindRequest, ForgetRequest, RestoreRequest
from backapp_core.model.restores import Action, Overwrite, RestoreOutcome
from backapp_core.model.retention import Retention, Within
from backapp_core.model.runs import Run, RunState
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Counts, Snapshot, SnapshotFilter
from backapp_core.ports.archivers import BackupResult, Repository
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.surroundings import NO_KEYS, CancelToken, Keys, Surroundings
from backapp_core.settings import PluginSettings, RepositorySettings, Settings

__all__ = [
    "NO_KEYS",
    "Action",
    "BackappError",
    "BackupRequest",
    "BackupResult",
    "CancelToken",
    "Change",
    "ChangeKind",
    "Counts",
    "Diagnosis",
    "DiffStats",
    "Engine",
    "EntryKind",
    "Event",
    "EventSink",
    "FanOut",
    "FileDone",
    "FindRequest",
    "ForgetRequest",
    "Job",
    "Keys",
    "Level",
    "LogLine",
    "Node",
    "Overwrite",
    "PluginSettings",
    "Problem",
    "Progress",
    "Recording",
    "Repository",
    "RepositorySettings",
    "RestoreOutcome",
    "RestoreRequest",
    "Retention",
    "Run",
    "RunFilter",
    "RunMoved",
    "RunState",
    "Schedule",
    "Settings",
    "Snapshot",
    "SnapshotFilter",
    "SnapshotSaved",
    "Surroundings",
    "Verb",
    "Verdict",
    "Within",
    "assemble",
    "from_text",
    "keys_from",
    "load_plugins",
    "to_text",
    "void",
]
