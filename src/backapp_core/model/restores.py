"""What a restore does with what is already there, and what it left behind."""

from enum import StrEnum

from attrs import frozen


class Overwrite(StrEnum):
    """What happens to something that already stands where an entry of the snapshot belongs."""

    ALWAYS = "always"
    IF_CHANGED = "if-changed"
    """Replaced unless type, size and modification time (to the nanosecond) agree."""
    IF_NEWER = "if-newer"
    """Replaced if the snapshot's modification time is later."""
    NEVER = "never"


class Action(StrEnum):
    """What a restore does with one entry."""

    CREATE = "create"
    """Nothing stands there."""
    OVERWRITE = "overwrite"
    KEEP = "keep"
    """What stands there stays; an existing directory is always used as it is."""
    REFUSE = "refuse"
    """What stands there is in the way and is not removed."""


@frozen
class RestoreOutcome:
    """What one restore did."""

    files: int = 0
    """Regular files that were written, other names of the same file included."""
    restored_bytes: int = 0
    """Logical size of the files that were written; other names of a file add nothing."""
    directories: int = 0
    others: int = 0
    """Symlinks, fifos, sockets and devices."""
    kept: int = 0
    """Entries that the policy for existing ones left as they were."""
    withheld: int = 0
    """Entries restored without set-id bits or without privileged attributes, on purpose."""
    problems: int = 0
    """Entries that were not restored, or not with all their metadata."""
    not_restored: tuple[tuple[bytes, str], ...] = ()
    """Path and reason, in the order of events; the first 10,000."""
    incomplete: tuple[tuple[bytes, str], ...] = ()
    """Path and reason of what is there, but not with all its metadata; the first 10,000."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for is there as the snapshot has it."""
        return self.problems == 0
