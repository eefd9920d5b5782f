"""Looks at entries one by one: is it what it was, and if not, what is it now?"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, final

from backapp_core.plugin_api import (
    DamagedRepository,
    Entry,
    EntryKind,
    FileDone,
    Level,
    LogLine,
    OpenedFile,
    Problem,
    Scanner,
    SourceError,
    Surroundings,
    Verb,
    child_path,
)
from backapp_plugins.archivers.restic.backup.comparing import Comparison, is_same_file
from backapp_plugins.archivers.restic.backup.contents import ContentSaver
from backapp_plugins.archivers.restic.backup.node_batches import BATCH_NODES, NamedNode, NodeBatches
from backapp_plugins.archivers.restic.backup.old_trees import (
    OldNodes,
    attributes_of,
    entries_as_written,
)
from backapp_plugins.archivers.restic.backup.pending import FORMAT, REGULAR, PendingFolder, Tally
from backapp_plugins.archivers.restic.format.layout import MIN_CHUNK_BYTES
from backapp_plugins.archivers.restic.format.node_writer import NodeWriter
from backapp_plugins.archivers.restic.format.trees import TreeNode
from backapp_plugins.archivers.restic.index.index import Index

ReadTree = Callable[[bytes], bytes]
_CHANGED = "changed while it was read; what was read is kept"
_NO_ATTRIBUTES = "extended attributes could not be read"


Part: TypeAlias = tuple[PendingFolder, Sequence[Entry]]
"""Some or all of what is in a directory and is none."""


class _Small(NamedTuple):
    """A small file that is to be read and saved with others."""

    folder: PendingFolder
    listed: Entry
    old: TreeNode | None


@final
class Examiner:
    """Makes the nodes of entries; any number of threads may ask, each about other entries."""

    def __init__(
        self,
        scanner: Scanner,
        surroundings: Surroundings,
        contents: ContentSaver,
        index: Index,
        read_tree: ReadTree,
        *,
        unchanged_before_ns: int,
        rereads_all: bool,
        racy_from_ns: int,
        reports_files: bool,
    ) -> None:
        """Prepare one backup.

        Args:
            scanner: Names users and groups.
            surroundings: Listeners, and the wish to stop.
            contents: Saves what has to be read.
            index: What is stored.
            read_tree: Returns the content of a tree of the old snapshot.
            unchanged_before_ns: Entries of the old snapshot that changed later may have changed
                again without it showing.
            rereads_all: Whether nothing is believed to be unchanged.
            racy_from_ns: Entries that changed later may yet change without it showing.
            reports_files: Whether there is an event per file.
        """
        self._scanner = scanner
        self._surroundings = surroundings
        self._contents = contents
        self._read_tree = read_tree
        self._racy_from_ns = racy_from_ns
        self._reports_files = reports_files
        self._events = threading.Lock()
        self._owners: dict[tuple[int, int], tuple[str, str]] = {}
        self.writer = NodeWriter()
        self._comparison = Comparison(
            index,
            self.writer,
            unchanged_before_ns=unchanged_before_ns,
            rereads_all=rereads_all,
        )

    def examine(self, parts: Sequence[Part], tally: Tally) -> None:
        """Add the nodes of entries to their folders, and count them."""
        small: list[_Small] = []
        for folder, entries in parts:
            for entry, old in self._not_kept(folder, entries, tally):
                if entry.mode & FORMAT != REGULAR:
                    self._examine_one(folder, entry, old, tally)
                elif old is not None and self._comparison.is_unchanged(entry, old):
                    self._keep_unchanged(folder, entry, old, tally)
                elif entry.size_bytes <= MIN_CHUNK_BYTES:
                    small.append(_Small(folder, entry, old))
                else:
                    self._examine_one(folder, entry, old, tally)
        self._save_small(small, tally)
        for folder, _ in parts:
            if len(folder.nodes) >= BATCH_NODES:
                folder.put_away()

    def _not_kept(
        self, folder: PendingFolder, entries: Sequence[Entry], tally: Tally
    ) -> Iterator[tuple[Entry, TreeNode | None]]:
        """Give unchanged files the nodes that they had; yield the rest, with what they were."""
        self._surroundings.cancel.check()
        old_nodes = self.old_nodes(folder)
        is_as_written, add = self._comparison.is_as_written, folder.nodes.append
        find, owner = old_nodes.as_written, self.owner
        for entry in entries:
            node = find(entry.name)
            if not (
                node
                and entry.mode & FORMAT == REGULAR
                and is_as_written(entry, *owner(entry), node)
            ):
                yield entry, old_nodes.get(entry.name) if node else None
                continue
            self._count_unchanged(folder, entry, tally)
            add((entry.name, node))

    def _examine_one(
        self, folder: PendingFolder, entry: Entry, old: TreeNode | None, tally: Tally
    ) -> None:
        self._surroundings.cancel.check()
        if self.is_racy(entry):
            folder.is_settled = False
        try:
            node = self._node(folder, entry, old, tally)
        except SourceError as error:
            self.report(folder, entry, error.message, tally)
        else:
            folder.nodes.append((entry.name, node))

    def is_racy(self, entry: Entry) -> bool:
        """Say whether an entry may change once more without its times telling."""
        return entry.ctime_ns >= self._racy_from_ns

    def old_nodes(self, folder: PendingFolder) -> OldNodes:
        """Return what the old snapshot has in ``folder``; nothing, said so, if it is damaged."""
        if folder.old_tree is None:
            return OldNodes()
        try:
            return folder.old_nodes(self._read_tree)
        except (DamagedRepository, ValueError) as error:
            self._say_damaged(error)
            folder.forget_old()
            return OldNodes()

    def keep_old_nodes(self, folder: PendingFolder) -> bool:
        """Give an unchanged directory the nodes that it had; False if they cannot be read."""
        if folder.old_tree is None:
            return False
        batches, nodes = NodeBatches(), list[NamedNode]()
        try:
            for node in entries_as_written(self._read_tree(folder.old_tree)):
                nodes.append(node)
                if len(nodes) >= BATCH_NODES:
                    batches.put_away(nodes)
                    nodes = []
        except (DamagedRepository, ValueError) as error:
            self._say_damaged(error)
            folder.forget_old()
            return False
        folder.nodes, folder.batches = nodes, batches or None
        return True

    def report(self, folder: PendingFolder, entry: Entry | None, reason: str, tally: Tally) -> None:
        """Tell of an entry (None: the directory itself) that could not be read as it should."""
        if entry is None:
            folder.is_own_settled = False
            path = folder.path
        else:
            folder.is_settled = False
            path = child_path(folder.path, entry.name)
        tally.problems += 1
        with self._events:
            self._surroundings.events(Problem(Verb.BACKUP, path, reason))

    def name(self, path: bytes, action: str, size_bytes: int) -> None:
        """Tell what became of a file, if that was asked for."""
        if self._reports_files:
            with self._events:
                self._surroundings.events(FileDone(Verb.BACKUP, path, action, size_bytes))

    def owner(self, entry: Entry) -> tuple[str, str]:
        """Return the names of an entry's user and group."""
        ids = entry.uid, entry.gid
        names = self._owners.get(ids)
        if names is None:
            names = self._scanner.user_name(entry.uid), self._scanner.group_name(entry.gid)
            self._owners[ids] = names
        return names

    def _node(
        self, folder: PendingFolder, entry: Entry, old: TreeNode | None, tally: Tally
    ) -> bytes:
        kind = entry.kind
        if kind is EntryKind.FILE:
            with folder.found.open(entry) as file:
                return self._read(folder, entry, file, old, tally)
        target = folder.found.link_target(entry) if kind is EntryKind.SYMLINK else b""
        user, group = self.owner(entry)
        node = self.writer.other(
            entry,
            user=user,
            group=group,
            target=target,
            xattrs=self.attributes(folder, entry, tally) or (),
        )
        tally.others += 1
        return node

    def _count_unchanged(self, folder: PendingFolder, entry: Entry, tally: Tally) -> None:
        if self.is_racy(entry):
            folder.is_settled = False
        tally.files_unmodified += 1
        tally.processed_bytes += entry.size_bytes
        if self._reports_files:
            self.name(child_path(folder.path, entry.name), "unmodified", entry.size_bytes)

    def _keep_unchanged(
        self, folder: PendingFolder, entry: Entry, old: TreeNode, tally: Tally
    ) -> None:
        self._surroundings.cancel.check()
        user, group = self.owner(entry)
        xattrs = attributes_of(old)
        if xattrs is None:
            xattrs = self.attributes(folder, entry, tally)
        self._count_unchanged(folder, entry, tally)
        # With the change time everything else of an inode is what it was, attributes too.
        node = self.writer.file(
            entry,
            user=user,
            group=group,
            content=old.content_ids(),
            xattrs=xattrs or (),
            size_bytes=entry.size_bytes,
            fault=_NO_ATTRIBUTES if xattrs is None else "",
        )
        folder.nodes.append((entry.name, node))

    def _save_small(self, small: Sequence[_Small], tally: Tally) -> None:
        saved = self._contents.save_small([(folder.found, entry) for folder, entry, _ in small])
        for (folder, listed, old), one in zip(small, saved, strict=True):
            if isinstance(one, SourceError):
                self.report(folder, listed, one.message, tally)
                continue
            if one is None:
                self._examine_one(folder, listed, old, tally)
                continue
            if self.is_racy(listed):
                folder.is_settled = False
            xattrs = one.attributes
            if xattrs is None:
                xattrs = self.attributes(folder, listed, tally)
            tally.read_bytes += one.size_bytes
            node = self._kept(
                folder,
                listed,
                one.entry,
                tally,
                old=old,
                content=one.content_ids,
                xattrs=xattrs,
                size_bytes=one.size_bytes,
                fault=_CHANGED if one.has_changed else "",
            )
            folder.nodes.append((listed.name, node))

    def _read(
        self,
        folder: PendingFolder,
        listed: Entry,
        file: OpenedFile,
        old: TreeNode | None,
        tally: Tally,
    ) -> bytes:
        tally.reading = child_path(folder.path, listed.name)
        try:
            content, size_bytes, read_bytes = self._contents.save(file, tally.read_on)
        finally:
            tally.reading, tally.reading_bytes = b"", 0
        xattrs = self.attributes(folder, listed, tally)
        has_changed = not file.is_stream and (
            size_bytes != file.entry.size_bytes or file.has_changed()
        )
        fault = _CHANGED if has_changed else ""
        tally.read_bytes += read_bytes
        return self._kept(
            folder,
            listed,
            file.entry,
            tally,
            old=old,
            content=content,
            xattrs=xattrs,
            size_bytes=size_bytes,
            fault=fault,
        )

    def _kept(
        self,
        folder: PendingFolder,
        listed: Entry,
        entry: Entry,
        tally: Tally,
        *,
        old: TreeNode | None,
        content: list[bytes],
        xattrs: tuple[tuple[bytes, bytes], ...] | None,
        size_bytes: int,
        fault: str,
    ) -> bytes:
        """Count a file that was read and return its node.

        What was opened is what counts: it may have changed since it was listed. Nobody takes a node
        with a fault for the node of an unchanged file.
        """
        if fault:
            self.report(folder, listed, fault, tally)
        if xattrs is None:
            fault = fault or _NO_ATTRIBUTES
        if entry.ctime_ns != listed.ctime_ns or entry.inode != listed.inode:
            folder.is_settled = False
        user, group = self.owner(entry)
        tally.processed_bytes += size_bytes
        action = "changed"
        if old is None:
            action = "new"
            tally.files_new += 1
        elif is_same_file(old, entry, content, size_bytes):
            action = "unmodified"
            tally.files_unmodified += 1
        else:
            tally.files_changed += 1
        if self._reports_files:
            self.name(child_path(folder.path, listed.name), action, size_bytes)
        return self.writer.file(
            entry,
            user=user,
            group=group,
            content=content,
            xattrs=xattrs or (),
            size_bytes=size_bytes,
            fault=fault,
        )

    def attributes(
        self, folder: PendingFolder, entry: Entry | None, tally: Tally
    ) -> tuple[tuple[bytes, bytes], ...] | None:
        """Return the extended attributes of an entry (None: the directory itself).

        None if they could not be read, which was reported then.
        """
        try:
            return folder.found.attributes(entry)
        except SourceError as error:
            self.report(folder, entry, error.message, tally)
            return None

    def _say_damaged(self, error: Exception) -> None:
        text = f"a part of the last snapshot cannot be read, so files are read again: {error}"
        with self._events:
            self._surroundings.events(LogLine(Level.WARNING, text))
