"""What a repair found and did, or would do."""

from attrs import frozen

from backapp_core.model.snapshots import Snapshot


@frozen
class IndexRepair:
    """What says where things are, made to agree with what is there."""

    missing: tuple[str, ...] = ()
    """Objects that were counted on and are not there; what was in them is lost."""
    read: tuple[str, ...] = ()
    """Objects that were not known, or not as they are, and whose list of contents was read."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """Name of each object whose list of contents cannot be read, and why; they are left alone."""
    damaged: tuple[str, ...] = ()
    """Parts of the index that could not be read themselves."""
    replaced: tuple[str, ...] = ()
    """Parts of the index that others took the place of."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to change."""
        return not (self.missing or self.read or self.damaged or self.replaced)


@frozen
class PackRepair:
    """One object out of which was saved what could be read."""

    name: str
    salvaged: int
    """How many blobs were copied to a new object."""
    salvaged_bytes: int
    lost: tuple[str, ...]
    """Ids of blobs that are whole nowhere."""
    is_dropped: bool
    """Whether it is used no more; it stays where it is until a prune."""


@frozen
class SnapshotRepair:
    """A snapshot of which parts are lost, and the one that has all the rest."""

    before: Snapshot
    after: Snapshot | None
    """None if nothing of it can be read, or nothing was done yet."""
    changes: tuple[tuple[bytes, str], ...]
    """Path of each entry that is not as it was, and what became of it."""
    is_removed: bool = False
    """Whether the former snapshot is gone."""
