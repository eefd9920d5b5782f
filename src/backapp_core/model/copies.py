"""What a copy between repositories came to."""

from attrs import frozen

from backapp_core.model.snapshots import Snapshot


@frozen
class SnapshotCopy:
    """A snapshot of one repository and what stands for it in another."""

    source: Snapshot
    copy: Snapshot
    is_new: bool
    """Whether it was copied now and did not stand there before."""
