"""Where snapshots live, what stands there, and what a look into it finds."""

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen, validators

from backapp_core.model.retention import Within

DEFAULT_ARCHIVER = "restic"
"""Kind of a new repository for which nobody chose one."""


@frozen
class RepositoryInfo:
    """What a repository says of itself."""

    id: str
    """Hex digits chosen at random when it was created."""
    archiver: str
    """Name of the archiver kind that wrote it."""
    version: int
    """Version of the format."""
    created_at: datetime | None
    """None where the format does not tell."""
    is_encrypted: bool


@frozen
class KeyInfo:
    """What can be known of a key of a repository without the password that opens it."""

    id: str
    """64 hex digits; any unambiguous beginning names it."""
    created_at: datetime
    username: str
    hostname: str
    is_current: bool
    """Whether the repository was opened with it."""


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
    remarks: tuple[str, ...] = ()
    """What its owner may want to know of how it is stored; sentences without a full stop."""


@frozen
class ContentStats:
    """What chosen snapshots hold when the same content counts once."""

    files: int
    """Files with different contents."""
    file_bytes: int
    """Their size."""
    file_blobs: int
    """Blobs that these files are cut into; one that several of them share counts for each."""
    blobs: int
    """Different blobs, those included that describe folders."""
    blob_bytes: int
    """Their content."""
    stored_bytes: int
    """What they take in the repository."""


@frozen
class RemovalPlan:
    """Which snapshots are to be removed; made first, shown, then executed."""

    keep: tuple[str, ...]
    """Ids that stay."""
    remove: tuple[str, ...]
    """Ids that go."""


@frozen
class CleanUpOptions:
    """How far a clean-up goes where needed and unneeded content share objects.

    Where they share none, only `keep_delete` could matter, and an archiver that cannot mark refuses
    it.
    """

    max_unused_share: float = field(
        default=0.05, validator=[validators.ge(0.0), validators.le(1.0)]
    )
    """How much of what is stored afterwards may be unneeded, because freeing it would mean to copy
    what stands beside it; with 1 nothing is copied for its sake."""
    max_unused_bytes: int | None = field(
        default=None, validator=validators.optional(validators.ge(0))
    )
    """Counts instead of the share if it is given."""
    max_repack_bytes: int | None = field(
        default=None, validator=validators.optional(validators.ge(0))
    )
    """How much may be copied at most."""
    repacks_small: bool = False
    """Whether objects that are much smaller than usual are joined, too."""
    keep_delete: Within = Within()
    """If given, what nothing needs is only marked, and deleted by a clean-up that finds it marked
    for so long."""

    def unused_limit_bytes(self, used_bytes: int) -> float:
        """Return how much may stay unneeded beside ``used_bytes`` that are needed."""
        if self.max_unused_bytes is not None:
            return self.max_unused_bytes
        if self.max_unused_share == 1:
            return float("inf")
        return self.max_unused_share / (1 - self.max_unused_share) * used_bytes


@frozen
class CleanUpPlan:
    """Which objects no snapshot needs any more; made first, shown, then executed."""

    objects: tuple[tuple[str, int], ...]
    """Name and size in bytes of each object that goes, in the order of deletion."""
    kept_objects: int
    kept_bytes: int
    options: CleanUpOptions = CleanUpOptions()
    repacked_bytes: int = 0
    """How much of what goes is needed, and copied to new objects first."""
    unused_bytes: int = 0
    """How much of what stays nothing needs."""
    marked: tuple[tuple[str, int], ...] = ()
    """Name and size in bytes of what nothing needs and a later clean-up deletes."""

    @property
    def freed_bytes(self) -> int:
        """By how much the repository shrinks."""
        return sum(size for _, size in self.objects) - self.repacked_bytes
