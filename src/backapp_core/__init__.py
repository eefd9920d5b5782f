"""BackApp: a backup engine to import.

::

    import backapp_core

    engine = backapp_core.assemble()
    keys = backapp_core.keys_from(password_file="password")
    with engine.create_repository("/srv/backup", keys=keys) as repository:
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
    from backapp_core.engine.prune import ForgetGroup
    from backapp_core.engine.restore import Step
    from backapp_core.engine.results import (
        Differences,
        ForgetPlan,
        Match,
        PluginManager,
        RestorePlan,
        Retagged,
        Upkeep,
    )
    from backapp_core.errors import (
        AccessError,
        AccessRefused,
        AgentNotFound,
        AgentRevoked,
        AgentRunning,
        AmbiguousSnapshot,
        BackappError,
        CommandFailed,
        ConflictError,
        DamagedRepository,
        DeliveryError,
        DuplicatePlugin,
        EntryNotRestored,
        EntryReplaced,
        EntryUnreadable,
        EntryVanished,
        GrantRefused,
        IllegalTransition,
        InputError,
        InvalidAddress,
        InvalidJob,
        InvalidName,
        InvalidPattern,
        InvalidSchedule,
        InvalidSettings,
        JobNotFound,
        JobRunning,
        LeaseLost,
        MissingError,
        NameTaken,
        NotAllowed,
        NotSignedIn,
        ObjectExists,
        ObjectMissing,
        PartMissing,
        PathNotFound,
        PluginError,
        PluginMisbehaved,
        QuestionNotFound,
        RepositoryError,
        RepositoryExists,
        RepositoryLocked,
        RepositoryNotFound,
        RunCancelled,
        RunNotFound,
        SnapshotNotFound,
        SourceError,
        SourceNotFound,
        StillInUse,
        StorageFull,
        StoreError,
        StoreTooNew,
        StoreUnavailable,
        TargetError,
        TokenRefused,
        TooManyAttempts,
        TransferCut,
        TransportError,
        TransportUnavailable,
        UnknownFormat,
        UnknownPlugin,
        UserNotFound,
        WorkerLost,
        WrongPassword,
    )
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
    from backapp_core.model.changes import Change, ChangeKind, DiffStats, SideStats
    from backapp_core.model.compressions import Compression
    from backapp_core.model.copies import SnapshotCopy
    from backapp_core.model.diagnoses import Diagnosis, Verdict
    from backapp_core.model.entries import EntryKind, Node
    from backapp_core.model.jobs import Job
    from backapp_core.model.names import AnyPath, from_text, to_text
    from backapp_core.model.rates import Rate
    from backapp_core.model.repairs import IndexRepair, PackRepair, SnapshotRepair
    from backapp_core.model.repositories import (
        CheckReport,
        CleanUpOptions,
        CleanUpPlan,
        ContentStats,
        Finding,
        KeyInfo,
        RepositoryInfo,
        RepositoryStats,
        Severity,
    )
    from backapp_core.model.requests import (
        BackupRequest,
        FindRequest,
        ForgetRequest,
        RestoreRequest,
        Sources,
    )
    from backapp_core.model.restores import Action, Overwrite, RestoreOutcome
    from backapp_core.model.retention import Decision, Retention, Within
    from backapp_core.model.runs import Run, RunState
    from backapp_core.model.schedules import Schedule
    from backapp_core.model.snapshots import Counts, Snapshot, SnapshotFilter
    from backapp_core.model.subsets import DataSubset
    from backapp_core.ports.archivers import BackupResult, Repository
    from backapp_core.ports.line import Line, Pace
    from backapp_core.ports.stores import Jobs, RunFilter, Runs, Store
    from backapp_core.ports.surroundings import NO_KEYS, CancelToken, Keys, Surroundings
    from backapp_core.settings import PluginSettings, RepositorySettings, Settings

    __version__: str

__all__ = [
    "NO_KEYS",
    "AccessError",
    "AccessRefused",
    "Action",
    "AgentNotFound",
    "AgentRevoked",
    "AgentRunning",
    "AmbiguousSnapshot",
    "AnyPath",
    "BackappError",
    "BackupRequest",
    "BackupResult",
    "CancelToken",
    "Change",
    "ChangeKind",
    "CheckReport",
    "CleanUpOptions",
    "CleanUpPlan",
    "CommandFailed",
    "Compression",
    "ConflictError",
    "ContentStats",
    "Counts",
    "DamagedRepository",
    "DataSubset",
    "Decision",
    "DeliveryError",
    "Diagnosis",
    "DiffStats",
    "Differences",
    "DuplicatePlugin",
    "Engine",
    "EntryKind",
    "EntryNotRestored",
    "EntryReplaced",
    "EntryUnreadable",
    "EntryVanished",
    "Event",
    "EventSink",
    "FanOut",
    "FileDone",
    "FindRequest",
    "Finding",
    "ForgetGroup",
    "ForgetPlan",
    "ForgetRequest",
    "GrantRefused",
    "IllegalTransition",
    "IndexRepair",
    "InputError",
    "InvalidAddress",
    "InvalidJob",
    "InvalidName",
    "InvalidPattern",
    "InvalidSchedule",
    "InvalidSettings",
    "Job",
    "JobNotFound",
    "JobRunning",
    "Jobs",
    "KeyInfo",
    "Keys",
    "LeaseLost",
    "Level",
    "Line",
    "LogLine",
    "Match",
    "MissingError",
    "NameTaken",
    "Node",
    "NotAllowed",
    "NotSignedIn",
    "ObjectExists",
    "ObjectMissing",
    "Overwrite",
    "Pace",
    "PackRepair",
    "PartMissing",
    "PathNotFound",
    "PluginError",
    "PluginManager",
    "PluginMisbehaved",
    "PluginSettings",
    "Problem",
    "Progress",
    "QuestionNotFound",
    "Rate",
    "Recording",
    "Repository",
    "RepositoryError",
    "RepositoryExists",
    "RepositoryInfo",
    "RepositoryLocked",
    "RepositoryNotFound",
    "RepositorySettings",
    "RepositoryStats",
    "RestoreOutcome",
    "RestorePlan",
    "RestoreRequest",
    "Retagged",
    "Retention",
    "Run",
    "RunCancelled",
    "RunFilter",
    "RunMoved",
    "RunNotFound",
    "RunState",
    "Runs",
    "Schedule",
    "Settings",
    "Severity",
    "SideStats",
    "Snapshot",
    "SnapshotCopy",
    "SnapshotFilter",
    "SnapshotNotFound",
    "SnapshotRepair",
    "SnapshotSaved",
    "SourceError",
    "SourceNotFound",
    "Sources",
    "Step",
    "StillInUse",
    "StorageFull",
    "Store",
    "StoreError",
    "StoreTooNew",
    "StoreUnavailable",
    "Surroundings",
    "TargetError",
    "TokenRefused",
    "TooManyAttempts",
    "TransferCut",
    "TransportError",
    "TransportUnavailable",
    "UnknownFormat",
    "UnknownPlugin",
    "Upkeep",
    "UserNotFound",
    "Verb",
    "Verdict",
    "Within",
    "WorkerLost",
    "WrongPassword",
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
    "backapp_core.engine.prune": "ForgetGroup",
    "backapp_core.engine.restore": "Step",
    "backapp_core.engine.results": (
        "Differences ForgetPlan Match PluginManager RestorePlan Retagged Upkeep"
    ),
    "backapp_core.errors": (
        "AccessError AccessRefused AgentNotFound AgentRevoked AgentRunning AmbiguousSnapshot "
        "BackappError CommandFailed ConflictError DamagedRepository DeliveryError "
        "DuplicatePlugin EntryNotRestored EntryReplaced EntryUnreadable EntryVanished "
        "GrantRefused IllegalTransition InputError InvalidAddress InvalidJob InvalidName "
        "InvalidPattern InvalidSchedule InvalidSettings JobNotFound JobRunning LeaseLost "
        "MissingError NameTaken NotAllowed NotSignedIn ObjectExists ObjectMissing "
        "PartMissing PathNotFound PluginError PluginMisbehaved QuestionNotFound RepositoryError "
        "RepositoryExists RepositoryLocked RepositoryNotFound RunCancelled RunNotFound "
        "SnapshotNotFound SourceError SourceNotFound StillInUse StorageFull StoreError "
        "StoreTooNew StoreUnavailable TargetError TokenRefused TooManyAttempts TransferCut "
        "TransportError TransportUnavailable UnknownFormat UnknownPlugin UserNotFound "
        "WorkerLost WrongPassword"
    ),
    "backapp_core.events": (
        "Event EventSink FanOut FileDone Level LogLine Problem Progress Recording RunMoved "
        "SnapshotSaved Verb void"
    ),
    "backapp_core.model.changes": "Change ChangeKind DiffStats SideStats",
    "backapp_core.model.compressions": "Compression",
    "backapp_core.model.copies": "SnapshotCopy",
    "backapp_core.model.diagnoses": "Diagnosis Verdict",
    "backapp_core.model.entries": "EntryKind Node",
    "backapp_core.model.jobs": "Job",
    "backapp_core.model.names": "AnyPath from_text to_text",
    "backapp_core.model.rates": "Rate",
    "backapp_core.model.repairs": "IndexRepair PackRepair SnapshotRepair",
    "backapp_core.model.repositories": (
        "CheckReport CleanUpOptions CleanUpPlan ContentStats Finding KeyInfo "
        "RepositoryInfo RepositoryStats Severity"
    ),
    "backapp_core.model.requests": (
        "BackupRequest FindRequest ForgetRequest RestoreRequest Sources"
    ),
    "backapp_core.model.restores": "Action Overwrite RestoreOutcome",
    "backapp_core.model.retention": "Decision Retention Within",
    "backapp_core.model.runs": "Run RunState",
    "backapp_core.model.schedules": "Schedule",
    "backapp_core.model.snapshots": "Counts Snapshot SnapshotFilter",
    "backapp_core.model.subsets": "DataSubset",
    "backapp_core.ports.archivers": "BackupResult Repository",
    "backapp_core.ports.line": "Line Pace",
    "backapp_core.ports.stores": "Jobs RunFilter Runs Store",
    "backapp_core.ports.surroundings": "NO_KEYS CancelToken Keys Surroundings",
    "backapp_core.settings": "PluginSettings RepositorySettings Settings",
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names.split()}

if not typing.TYPE_CHECKING:  # else any misspelt name would pass the type checkers

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return _version()
        if name not in _PLACE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(_PLACE_OF[name])  # noqa: TID251  # ours, from the table above
        value = globals()[name] = getattr(module, name)
        return value


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415  # 10 ms

    try:
        return metadata.version("backapp")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from a copied tree


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
