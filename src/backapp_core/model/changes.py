"""How two snapshots differ."""

from enum import StrEnum

from attrs import evolve, frozen

from backapp_core.model.entries import EntryKind, Node


class ChangeKind(StrEnum):
    """What happened to a path; the values are restic's letters."""

    ADDED = "+"
    REMOVED = "-"
    CONTENT = "M"
    METADATA = "U"
    """Rights, owners, times or extended attributes; the content is the same."""
    TYPE = "T"


@frozen
class Change:
    """One path that differs."""

    kind: ChangeKind
    path: bytes
    before: Node | None
    after: Node | None


@frozen
class SideStats:
    """What was added, or what was removed."""

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes: int = 0
    """Logical size of the files."""

    def plus(self, node: Node) -> "SideStats":
        """Return the figures with ``node`` counted."""
        if node.kind is EntryKind.FILE:
            return evolve(self, files=self.files + 1, bytes=self.bytes + node.size_bytes)
        if node.kind is EntryKind.DIRECTORY:
            return evolve(self, directories=self.directories + 1)
        return evolve(self, others=self.others + 1)


@frozen
class DiffStats:
    """Figures over a comparison.

    A file whose content changed counts on both sides in bytes only.
    """

    added: SideStats = SideStats()
    removed: SideStats = SideStats()
    changed_files: int = 0
    """Paths whose content or type changed."""
    changed_metadata: int = 0

    def plus(self, change: Change) -> "DiffStats":
        """Return the figures with ``change`` counted."""
        if change.kind is ChangeKind.METADATA:
            return evolve(self, changed_metadata=self.changed_metadata + 1)
        if change.kind is ChangeKind.ADDED and change.after:
            return evolve(self, added=self.added.plus(change.after))
        if change.kind is ChangeKind.REMOVED and change.before:
            return evolve(self, removed=self.removed.plus(change.before))
        after = change.after.size_bytes if change.after else 0
        before = change.before.size_bytes if change.before else 0
        return evolve(
            self,
            changed_files=self.changed_files + 1,
            added=evolve(self.added, bytes=self.added.bytes + after),
            removed=evolve(self.removed, bytes=self.removed.bytes + before),
        )
