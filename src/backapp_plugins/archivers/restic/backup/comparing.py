"""Says whether a file is what the old snapshot has of it."""

from typing import final

from backapp_core.plugin_api import Entry
from backapp_plugins.archivers.restic.format.go_modes import go_mode
from backapp_plugins.archivers.restic.format.go_times import time_of
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.node_writer import NodeWriter, content_behind
from backapp_plugins.archivers.restic.format.trees import TreeNode
from backapp_plugins.archivers.restic.index.index import Index


@final
class Comparison:
    """Compares what a scan found with old nodes; any number of threads may ask."""

    def __init__(
        self, index: Index, writer: NodeWriter, *, unchanged_before_ns: int, rereads_all: bool
    ) -> None:
        """Prepare one backup.

        Args:
            index: What is stored.
            writer: Writes the nodes of this backup.
            unchanged_before_ns: Entries of the old snapshot that changed later may have changed
                again without it showing.
            rereads_all: Whether nothing is believed to be unchanged.
        """
        self._has = index.has
        self._start = writer.file_start
        self._unchanged_before_ns = unchanged_before_ns
        self._believes = not rereads_all

    def is_as_written(self, entry: Entry, user: str, group: str, node: bytes) -> bool:
        """Say whether a regular file is unchanged and would get this very node, byte by byte.

        Nearly all that are unchanged would. Finding that out takes a third of the time of reading
        a node and writing it anew.
        """
        if not self._believes or entry.ctime_ns >= self._unchanged_before_ns:
            return False
        size_bytes = entry.size_bytes
        content = content_behind(self._start(entry, user, group, size_bytes).encode(), node)
        if content is None or (size_bytes and not content):
            return False
        for blob_id in content:  # noqa: SIM110  # all() and a generator take a third longer
            if not self._has(BlobKind.DATA, blob_id):
                return False
        return True

    def is_unchanged(self, entry: Entry, old: TreeNode) -> bool:
        """Say whether a regular file is unchanged, though its node may have to be written anew."""
        try:
            return (
                self._believes
                and old.type == "file"
                and old.size == entry.size_bytes
                and old.inode == entry.inode
                and entry.ctime_ns < self._unchanged_before_ns
                and time_of(old.ctime) == entry.ctime_ns
                and time_of(old.mtime) == entry.mtime_ns
                and not old.error
                and bool(old.content or not old.size)
                and all(self._has(BlobKind.DATA, blob_id) for blob_id in old.content_ids())
            )
        except ValueError:  # what somebody else wrote is malformed, so nothing follows from it
            return False


def is_same_file(old: TreeNode, entry: Entry, content: list[bytes], size_bytes: int) -> bool:
    """Say whether a file that was read again is what it was, in what a restore gives back."""
    try:
        return (
            old.type == "file"
            and old.size == size_bytes
            and old.content_ids() == content
            and time_of(old.mtime) == entry.mtime_ns
            and (old.mode, old.uid, old.gid) == (go_mode(entry.mode), entry.uid, entry.gid)
        )
    except ValueError:  # what somebody else wrote is malformed
        return False
