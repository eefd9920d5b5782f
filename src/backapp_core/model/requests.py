"""What a verb is asked for. A snapshot's name is its id, the beginning of it, or ``latest``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from attrs import field, frozen

from backapp_core.model.names import AnyPath, all_path_bytes, path_bytes
from backapp_core.model.restores import Overwrite
from backapp_core.model.retention import Retention
from backapp_core.model.snapshots import SnapshotFilter


@frozen
class BackupRequest:
    """One backup: what, and how it is marked."""

    roots: tuple[bytes, ...] = field(converter=all_path_bytes)
    """Paths, or one; relative ones are taken from the current folder."""
    scanner: str = "files"
    """Name of the scanner kind."""
    scanner_settings: Mapping[str, object] = field(factory=dict[str, object])
    """Plain data for the scanner kind's settings, without the roots."""
    tags: tuple[str, ...] = ()
    hostname: str = ""
    """Empty means the name of this machine."""
    username: str = ""
    """Empty means who runs this."""
    is_full: bool = False
    """Depend on nothing that was stored before."""
    rereads_all: bool = False
    """Read every file again instead of trusting size, times and inode."""
    parent: str = ""
    """Name of the snapshot to compare with; empty lets the archiver choose."""
    skips_unchanged: bool = False
    """Make no snapshot if nothing changed since the one that it is compared with.

    `BackupResult.is_skipped` says so then. Folders above the roots do not count; problems do not
    make a difference, and are counted all the same. A full backup is compared with nothing.
    """
    reports_files: bool = False
    """Whether every file is told about by an event (`FileDone`)."""


Sources: TypeAlias = BackupRequest | AnyPath | Sequence[AnyPath]
"""What may be backed up: a whole request, or simply paths, or one path."""


def as_request(sources: Sources) -> BackupRequest:
    """Return the request that ``sources`` stand for.

    Raises:
        InputError: If something in it is no path.
    """
    return sources if isinstance(sources, BackupRequest) else BackupRequest(sources)


def _folder(path: AnyPath) -> Path:
    return Path(os.fsdecode(path_bytes(path)))


@frozen
class RestoreRequest:
    """One restore: what of a snapshot, and whereto."""

    target: Path = field(converter=_folder)
    """Folder below which entries come back with their full paths; made if need be."""
    folder: bytes = field(default=b"", converter=path_bytes)
    """Only what is in this folder of the snapshot comes back, without the path to the folder."""
    include: tuple[str, ...] = ()
    """Patterns as in a ``.gitignore`` file; if given, only what one of them matches comes back."""
    exclude: tuple[str, ...] = ()
    """Patterns of what does not come back; stronger than `include`."""
    ignores_case: bool = False
    """Whether patterns match without regard to upper and lower case."""
    overwrite: Overwrite = Overwrite.IF_CHANGED
    owners: bool | None = None
    """Whether owners and groups come back; None means if this is run by root."""
    special: bool | None = None
    """Whether set-id bits, devices and privileged attributes come back.

    None means if this is run by root.
    """
    reports_files: bool = False
    """Whether there is one event per file."""


@frozen
class FindRequest:
    """Which nodes of which snapshots are looked for."""

    patterns: tuple[str, ...]
    """Globs; ``*`` and ``?`` stay within a name, ``**`` crosses folders.

    A glob without ``/`` is held against names, one that begins with ``/`` against whole paths, and
    any other against the ends of paths.
    """
    ignores_case: bool = False
    snapshots: tuple[str, ...] = ()
    """Names of snapshots; empty means all that the filter lets through."""
    snapshot_filter: SnapshotFilter = SnapshotFilter()


@frozen
class ForgetRequest:
    """Which snapshots go: those named, or those that a policy does not want."""

    snapshots: tuple[str, ...] = ()
    """Names of snapshots; if given, no policy may be."""
    retention: Retention = Retention()
    snapshot_filter: SnapshotFilter = SnapshotFilter()
    """Which snapshots the policy looks at; others stay."""
    groups_by_host: bool = True
    """Apply the policy to every host's snapshots by themselves."""
    groups_by_roots: bool = True
    groups_by_tags: bool = False
