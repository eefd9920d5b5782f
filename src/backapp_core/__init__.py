"""BackApp: a backup engine to import.

::

    import backapp_core

    engine = backapp_core.assemble()
    with engine.create_repository("/srv/backup") as repository:
        result = engine.backup(repository, ["/home/me/documents"])
        print(result.snapshot.short_id, result.snapshot.counts.files)
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    # What type checkers see. At run time a name is imported when it is first asked for: a program
    # that only wants the errors, or shows its help, does not pay for every verb.
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
    from backapp_core.model.requests import (
        BackupRequest,
        FindRequest,
        ForgetRequest,
        RestoreRequest,
    )
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

_PLACES = {
    "backapp_core.assembly": "assemble load_plugins",
    "backapp_core.engine": "Engine",
    "backapp_core.engine.keys": "keys_from",
    "backapp_core.errors": "BackappError",
    "backapp_core.events": (
        "Event EventSink FanOut FileDone Level LogLine Problem Progress Recording RunMoved "
        "SnapshotSaved Verb void"
    ),
    "backapp_core.model.changes": "Change ChangeKind DiffStats",
    "backapp_core.model.diagnoses": "Diagnosis Verdict",
    "backapp_core.model.entries": "EntryKind Node",
    "backapp_core.model.jobs": "Job",
    "backapp_core.model.names": "from_text to_text",
    "backapp_core.model.requests": "BackupRequest FindRequest ForgetRequest RestoreRequest",
    "backapp_core.model.restores": "Action Overwrite RestoreOutcome",
    "backapp_core.model.retention": "Retention Within",
    "backapp_core.model.runs": "Run RunState",
    "backapp_core.model.schedules": "Schedule",
    "backapp_core.model.snapshots": "Counts Snapshot SnapshotFilter",
    "backapp_core.ports.archivers": "BackupResult Repository",
    "backapp_core.ports.stores": "RunFilter",
    "backapp_core.ports.surroundings": "NO_KEYS CancelToken Keys Surroundings",
    "backapp_core.settings": "PluginSettings RepositorySettings Settings",
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names.split()}

if not typing.TYPE_CHECKING:  # else any misspelt name would pass the type checkers

    def __getattr__(name: str) -> object:
        if name not in _PLACE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(_PLACE_OF[name])  # noqa: TID251  # ours, from the table above
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
