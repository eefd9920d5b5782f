"""Where snapshots live, what stands there, and what a look into it finds."""

from datetime import datetime
from enum import StrEnum

from attrs import frozen


@frozen
class RepositoryInfo:
    """What a repository says of itself."""

    id: str
    """Hex digits chosen at random when it was created."""
    archiver: str
    """Name of the archiver kind that wrote it."""
    version: int
    """Version of the format."""
    created_at: datetime
    is_encrypted: bool


class Severity(StrEnum):
    """How bad a finding of a check is."""

    NOTE = "note"
    """Worth knowing, nothing is wrong (an archive that an interrupted run left behind)."""
    ERROR = "error"
    """Something that was stored is missing or damaged."""


@frozen
class Finding:
    """One thing that a check noticed."""

    severity: Severity
    object_name: str
    """The object it is about; empty for the repository as a whole."""
    message: str
    snapshot_ids: tuple[str, ...] = ()
    """Snapshots that are affected."""
    paths: tuple[bytes, ...] = ()
    """Files that are affected, as far as they are known."""

    @property
    def is_error(self) -> bool:
        """Whether something is missing or damaged."""
        return self.severity is Severity.ERROR


@frozen
class CheckReport:
    """What a check looked at and found."""

    snapshots: int
    objects: int
    read_bytes: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is missing or damaged."""
        return not any(finding.is_error for finding in self.findings)


@frozen
class RepositoryStats:
    """Figures of a repository."""

    snapshots: int
    objects: int
    stored_bytes: int
    """What the repository takes at its address, all objects together."""
    restore_bytes: int
    """Logical size of all files of the chosen snapshots, each counted in full."""
    restore_files: int


@frozen
class RemovalPlan:
    """Which snapshots are to be removed; made first, shown, then executed."""

    keep: tuple[str, ...]
    """Ids that stay."""
    remove: tuple[str, ...]
    """Ids that go."""


@frozen
class CleanUpPlan:
    """Which objects no snapshot needs any more; made first, shown, then executed."""

    objects: tuple[tuple[str, int], ...]
    """Name and size in bytes of each object that goes, in the order of deletion."""
    kept_objects: int
    kept_bytes: int

    @property
    def freed_bytes(self) -> int:
        """Sum of the sizes of what goes."""
        return sum(size for _, size in self.objects)
