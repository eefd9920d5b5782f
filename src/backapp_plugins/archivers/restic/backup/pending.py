"""Directories on their way to becoming trees: a tree is made when all below it are."""

import stat
import threading
from collections.abc import Callable
from typing import final

from backapp_core.plugin_api import Counts, Entry, FoundDirectory
from backapp_plugins.archivers.restic.backup.folder_memory import (
    UNSETTLED,
    Remembered,
    hash_of_path,
)
from backapp_plugins.archivers.restic.backup.node_batches import BATCH_NODES, NodeBatches
from backapp_plugins.archivers.restic.backup.old_trees import OldNodes

FORMAT = 0o170000
"""Type bits of a mode; asking an entry for its kind takes four times as long."""
REGULAR = stat.S_IFREG


@final
class PendingFolder:
    """One directory between being found and having a tree."""

    __slots__ = (
        "_lock",
        "_old_nodes",
        "above",
        "attributes",
        "batches",
        "children",
        "entries_hash",
        "found",
        "is_own_settled",
        "is_same",
        "is_settled",
        "known",
        "left",
        "nodes",
        "old_tree",
        "own",
    )

    def __init__(self, found: FoundDirectory, above: "PendingFolder | None") -> None:
        self.found = found
        self.above = above
        """The directory that it is in, None for the root folder."""
        self.left = 1
        """What has to happen before its tree can be made: the scan leaving it, parts of it being
        examined, subdirectories getting their trees."""
        self.known: Remembered | None = None
        self.old_tree: bytes | None = None
        """Its tree in the snapshot that this backup is compared with."""
        self.own = b""
        self.entries_hash = b""
        self.attributes: tuple[tuple[bytes, bytes], ...] = ()
        self.is_same = False
        """Whether all that is in it and no directory is what it was."""
        self.is_own_settled = True
        """Whether equal facts of the directory next time will mean equal attributes."""
        self.is_settled = True
        """Whether equal facts of what is in it will mean equal contents."""
        self.nodes: list[tuple[bytes, bytes]] = []
        """Name and JSON of each entry that is no directory, except those that were put away."""
        self.batches: NodeBatches | None = None
        self.children: list[Child] = []
        self._old_nodes: OldNodes | None = None
        self._lock = threading.Lock()

    @property
    def path(self) -> bytes:
        """Its absolute path."""
        return self.found.path

    def old_nodes(self, read: Callable[[bytes], bytes]) -> OldNodes:
        """Return what the old snapshot has in it, by name; read once, whoever asks first."""
        with self._lock:
            if self._old_nodes is None:
                data = read(self.old_tree) if self.old_tree is not None else b""
                self._old_nodes = OldNodes(data)
            return self._old_nodes

    def put_away(self) -> None:
        """Compress the nodes of a very large directory; others may be added meanwhile."""
        with self._lock:
            done = self.nodes[:]
            if len(done) >= BATCH_NODES:
                del self.nodes[: len(done)]
                self.batches = self.batches or NodeBatches()
                self.batches.put_away(done)

    def remembered(self, folders_hash: bytes, tree: bytes) -> Remembered:
        """Return what the next backup may know of it, now that its tree is made."""
        own = self.own if self.is_own_settled else UNSETTLED
        has_attributes = bool(self.attributes)
        known = self.known
        if (
            known is not None
            and self.is_same
            and self.is_settled
            and (known.own, known.folders, known.tree) == (own, folders_hash, tree)
            and known.has_attributes == has_attributes
        ):
            return known  # by far the most
        entries = self.found.entries
        files = [one.size_bytes for one in entries if one.mode & FORMAT == REGULAR]
        return Remembered(
            path=hash_of_path(self.path),
            own=own,
            entries=self.entries_hash if self.is_settled else UNSETTLED,
            folders=folders_hash,
            tree=tree,
            files=len(files),
            others=len(entries) - len(files),
            file_bytes=sum(files),
            has_attributes=has_attributes,
        )

    def forget_old(self) -> None:
        """Take it for new, since what the old snapshot has of it cannot be read."""
        self.old_tree = None
        self.is_same = False
        self._old_nodes = OldNodes()


@final
class Child:
    """A directory with a tree, for the one above it."""

    __slots__ = ("attributes", "entry", "is_own_settled", "name", "own", "tree")

    def __init__(self, folder: PendingFolder, tree: bytes) -> None:
        self.entry: Entry = folder.found.entry
        self.name = folder.found.path.rpartition(b"/")[2]
        self.own = folder.own
        self.is_own_settled = folder.is_own_settled
        self.tree = tree
        self.attributes = folder.attributes


@final
class Tally:
    """Counts of a backup, or of what one thread examines of it."""

    __slots__ = (
        "directories",
        "files_changed",
        "files_new",
        "files_unmodified",
        "folders_changed",
        "folders_new",
        "others",
        "problems",
        "processed_bytes",
        "read_bytes",
        "reading",
        "reading_bytes",
    )

    def __init__(self) -> None:
        self.files_new = 0
        self.files_changed = 0
        self.files_unmodified = 0
        self.directories = 0
        self.folders_new = 0
        self.folders_changed = 0
        self.others = 0
        self.problems = 0
        self.processed_bytes = 0
        self.read_bytes = 0
        self.reading = b""
        """Path of a long file that is being read."""
        self.reading_bytes = 0
        """How much of it was read, for people to see that something happens."""

    @property
    def files(self) -> int:
        """Regular files so far."""
        return self.files_new + self.files_changed + self.files_unmodified

    def read_on(self, size_bytes: int) -> None:
        """Note that so much more of a long file was read."""
        self.reading_bytes += size_bytes

    def add(self, other: "Tally") -> None:
        """Add the counts of a part."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def counts(self, *, scan_problems: int, stored_bytes: int) -> Counts:
        """Return them as a snapshot has them."""
        return Counts(
            files_new=self.files_new,
            files_changed=self.files_changed,
            files_unmodified=self.files_unmodified,
            directories=self.directories,
            others=self.others,
            problems=self.problems + scan_problems,
            processed_bytes=self.processed_bytes,
            read_bytes=self.read_bytes,
            stored_bytes=stored_bytes,
        )
