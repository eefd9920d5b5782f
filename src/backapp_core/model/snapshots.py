"""What a completed backup left behind."""

from datetime import datetime, timedelta, timezone

from attrs import evolve, field, frozen


@frozen
class Counts:
    """What one backup saw, read and stored."""

    files_new: int = 0
    files_changed: int = 0
    """Content, or metadata beyond the times that reading itself moves, differs from the parent."""
    files_unmodified: int = 0
    directories: int = 0
    others: int = 0
    """Symlinks, fifos, sockets and devices."""
    problems: int = 0
    """Entries that could not be read, or changed while they were."""
    processed_bytes: int = 0
    """Logical size of all files of the snapshot."""
    read_bytes: int = 0
    """Bytes of file content that had to be read."""
    stored_bytes: int = 0
    """Bytes that this backup added to the repository, after compression and encryption."""

    @property
    def are_known(self) -> bool:
        """Whether anything was recorded; restic before 0.17 records nothing."""
        return self != Counts()

    @property
    def files(self) -> int:
        """Regular files of the snapshot, hard links counted by name."""
        return self.files_new + self.files_changed + self.files_unmodified


@frozen
class Snapshot:
    """One point in time that can be restored."""

    id: str
    """64 lower-case hex digits; any unambiguous prefix names it."""
    taken_at: datetime
    """When the backup began, aware and in UTC."""
    hostname: str
    username: str
    roots: tuple[bytes, ...]
    """Absolute paths that were backed up, in byte order."""
    tags: tuple[str, ...] = ()
    """In byte order, without duplicates."""
    parent_id: str | None = None
    """The snapshot that this one was compared with, None for a full backup."""
    original_id: str | None = None
    """Id before tags were changed, None if they never were."""
    program: str = ""
    """Name and version of what wrote it."""
    archives: tuple[str, ...] = field(default=())
    """Objects that its contents are in and that it shares with others, where the archiver has such
    (tar.gz chains)."""
    counts: Counts = Counts()
    utc_offset_seconds: int = 0
    """How far the clock of the machine that took it was ahead of UTC, where that was recorded."""

    @property
    def taken_there_at(self) -> datetime:
        """The moment of ``taken_at`` by the clock of the machine that took it."""
        return self.taken_at.astimezone(timezone(timedelta(seconds=self.utc_offset_seconds)))

    @property
    def short_id(self) -> str:
        """The first eight digits, as shown in tables."""
        return self.id[:8]

    def tagged(self, tags: tuple[str, ...], *, new_id: str) -> "Snapshot":
        """Return the snapshot with other tags under the id that its new record has."""
        return evolve(
            self,
            id=new_id,
            tags=tuple(sorted(set(tags))),
            original_id=self.original_id or self.id,
        )


@frozen
class SnapshotFilter:
    """Which snapshots are meant; empty fields match everything."""

    hostnames: frozenset[str] = frozenset()
    tag_lists: tuple[frozenset[str], ...] = ()
    """A snapshot matches if it has every tag of at least one of the sets; an empty set means
    untagged."""
    roots: frozenset[bytes] = frozenset()
    """All of these must be among the snapshot's roots."""

    def matches(self, snapshot: Snapshot) -> bool:
        """Say whether ``snapshot`` is meant."""
        return (
            (not self.hostnames or snapshot.hostname in self.hostnames)
            and (
                not self.tag_lists or any(_has_tags(snapshot, wanted) for wanted in self.tag_lists)
            )
            and self.roots <= set(snapshot.roots)
        )


def _has_tags(snapshot: Snapshot, wanted: frozenset[str]) -> bool:
    return wanted <= set(snapshot.tags) if wanted else not snapshot.tags
