"""Walks the scan and makes trees from the bottom up, while threads examine what is in them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

from backapp_core.plugin_api import (
    DamagedRepository,
    Entry,
    FoundDirectory,
    Progress,
    RunCancelled,
    Scanner,
    Surroundings,
    Verb,
    child_path,
    is_below,
)
from backapp_plugins.archivers.restic.backup.examining import Examiner, Part
from backapp_plugins.archivers.restic.backup.folder_memory import (
    UNSETTLED,
    FolderMemory,
    FolderNotes,
    hash_of_entries,
    hash_of_folder,
    hash_of_folders,
)
from backapp_plugins.archivers.restic.backup.node_batches import NamedNode
from backapp_plugins.archivers.restic.backup.pending import (
    FORMAT,
    REGULAR,
    Child,
    PendingFolder,
    Tally,
)
from backapp_plugins.archivers.restic.backup.roots import RootWatch
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.trees import TreeBroken, join_in_pieces, join_nodes
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

_PART_ENTRIES = 256
_PART_BYTES = 4 << 20
_PARTS_AHEAD = 16
"""How far the walk may be ahead of the threads that read."""
_PROGRESS_SECONDS = 0.1
_NO_FOLDERS = hash_of_folders([])


@final
class Collector:
    """Drives one scan; `run` is called once, from one thread."""

    def __init__(
        self,
        scanner: Scanner,
        surroundings: Surroundings,
        saver: BlobSaver,
        examiner: Examiner,
        *,
        old_root: bytes | None,
        memory: FolderMemory | None,
        roots: RootWatch | None,
        check_lock: Callable[[], None],
        threads: int,
        rereads_all: bool,
        reports_files: bool,
        expected: tuple[int, int] | None,
    ) -> None:
        """Prepare.

        Args:
            scanner: What is walked.
            surroundings: Listeners, and the wish to stop.
            saver: Takes the trees.
            examiner: Makes the nodes of what is no directory.
            old_root: Root tree of the snapshot that this backup is compared with.
            memory: What this machine remembers of that snapshot.
            roots: Is told of trees, if somebody wants to know what is as it was.
            check_lock: Raises if the lock of this run is worth nothing any more; asked often.
            threads: How many examine at a time.
            rereads_all: Whether nothing is believed to be unchanged.
            reports_files: Whether there is an event per file.
            expected: How many files and bytes there were last time.
        """
        self._scanner = scanner
        self._surroundings = surroundings
        self._saver = saver
        self._examiner = examiner
        self._old_root = old_root
        self._memory = memory
        self._roots = roots
        self._check_lock = check_lock
        self._threads = threads
        self._rereads_all = rereads_all
        self._reports_files = reports_files
        self._expected = expected
        self.tally = Tally()
        """What was counted of parts that are done; changed under the lock."""
        self._under_way: list[Tally] = []
        self.notes = FolderNotes()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(_PARTS_AHEAD)
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._root: bytes | None = None
        self._way: list[PendingFolder] = []
        self._parts: list[Part] = []
        self._part_entries = 0
        self._part_bytes = 0
        self._progress_at = 0.0
        self._shown_bytes = 0
        self._shown = b"/"
        self._current = b"/"

    def run(self) -> bytes:
        """Walk everything and return the id of the root tree; all trees were handed to the saver.

        Raises:
            SourceNotFound: If none of the roots exists.
            TransportError: If the destination fails.
            DamagedRepository: If the scanner handed over nothing.
            RepositoryLocked: If the lock was lost on the way.
            RunCancelled: If the run is asked to stop.
        """
        with ThreadPoolExecutor(self._threads, "examine") as pool:
            try:
                for found in self._scanner.scan():
                    self._arrive(found, pool)
                self._hand_out(pool)
                while self._way:
                    self._settle(self._way.pop())
                while not self._done.wait(_PROGRESS_SECONDS):
                    self._surroundings.cancel.check()
                    self._show()
            except BaseException as error:  # noqa: BLE001  # threads are told, then it is raised
                self._fail(error)
                pool.shutdown(cancel_futures=True)
                raise self._failure or error from None
        if self._failure is not None:
            raise self._failure
        self._show(is_last=True)
        if self._root is None:
            raise DamagedRepository(
                "the walk ended without a root, which is an error of the scanner"
            )
        return self._root

    # --- on the way down

    def _arrive(self, found: FoundDirectory, pool: ThreadPoolExecutor) -> None:
        self._surroundings.cancel.check()
        if self._failure is not None:
            raise self._failure
        while self._way and not is_below(found.path, self._way[-1].path):
            self._settle(self._way.pop())
        above = self._way[-1] if self._way else None
        folder = PendingFolder(found, above)
        if above is not None:
            with self._lock:
                above.left += 1
        self._way.append(folder)
        self._current = found.path
        self._compare(folder)
        if folder.is_same:
            self._count_same(folder)
        else:
            for part, part_bytes in _parts(found.entries):
                self._gather(folder, part, part_bytes, pool)
        self._show()

    def _compare(self, folder: PendingFolder) -> None:
        """Find out what is known of a directory, and whether its entries are what they were."""
        found = folder.found
        tally = self.tally
        tally.directories += 1
        folder.own = hash_of_folder(found.entry)
        folder.is_own_settled = not self._examiner.is_racy(found.entry)
        folder.entries_hash = hash_of_entries(found)
        known = self._memory.find(found.path) if self._memory is not None else None
        if known is not None:
            folder.known = known
            folder.old_tree = known.tree
        else:
            folder.old_tree = self._old_tree(folder)
        is_own = known is not None and known.own == folder.own and not known.has_attributes
        if not is_own:
            folder.attributes = self._examiner.attributes(folder, None, tally) or ()
        folder.is_same = (
            known is not None
            and self._memory is not None
            and self._memory.is_trusted
            and known.is_settled
            and known.entries == folder.entries_hash
            and not self._rereads_all
        )

    def _old_tree(self, folder: PendingFolder) -> bytes | None:
        if folder.above is None:
            return self._old_root
        if self._memory is not None:
            return None  # the memory knows every directory of the old snapshot
        name = folder.path.rpartition(b"/")[2]
        old = self._examiner.old_nodes(folder.above).get(name)
        try:
            return old.subtree_id() if old is not None and old.type == "dir" else None
        except TreeBroken:  # what somebody else wrote is malformed
            return None

    def _count_same(self, folder: PendingFolder) -> None:
        known = folder.known
        if known is None:
            return
        self.tally.files_unmodified += known.files
        self.tally.others += known.others
        self.tally.processed_bytes += known.file_bytes
        for entry in folder.found.entries if self._reports_files else ():
            if entry.mode & FORMAT == REGULAR:
                path = child_path(folder.path, entry.name)
                self._examiner.name(path, "unmodified", entry.size_bytes)

    def _gather(
        self,
        folder: PendingFolder,
        part: Sequence[Entry],
        part_bytes: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Put small directories together: handing each out by itself costs more than its files."""
        with self._lock:
            folder.left += 1
        self._parts.append((folder, part))
        self._part_entries += len(part)
        self._part_bytes += part_bytes
        if self._part_entries >= _PART_ENTRIES or self._part_bytes >= _PART_BYTES:
            self._hand_out(pool)

    def _hand_out(self, pool: ThreadPoolExecutor) -> None:
        if not self._parts:
            return
        while not self._room.acquire(timeout=_PROGRESS_SECONDS):
            self._surroundings.cancel.check()
            self._show()
        if self._failure is not None:
            self._room.release()
            raise self._failure
        parts, self._parts, self._part_entries, self._part_bytes = self._parts, [], 0, 0
        pool.submit(self._examine, parts)

    def _examine(self, parts: Sequence[Part]) -> None:
        try:
            if self._failure is None:
                tally = Tally()
                with self._lock:
                    self._under_way.append(tally)
                self._examiner.examine(parts, tally)
                with self._lock:
                    self._under_way.remove(tally)
                    self.tally.add(tally)
                for folder, _ in parts:
                    self._settle(folder)
        except BaseException as error:  # noqa: BLE001  # carried over to the thread that walks, which raises it
            self._fail(error)
        finally:
            self._room.release()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            # Whoever stops because something failed elsewhere is not the reason.
            if self._failure is None or isinstance(self._failure, RunCancelled):
                self._failure = error
        self._done.set()

    # --- on the way up

    def _settle(self, folder: PendingFolder | None) -> None:
        """Say that one thing less is to happen before ``folder`` gets its tree."""
        while folder is not None:
            with self._lock:
                folder.left -= 1
                if folder.left:
                    return
            tree = self._tree(folder)
            folder.found.close()
            above = folder.above
            with self._lock:
                if above is None:
                    self._root = tree
                    self._done.set()
                else:
                    above.children.append(Child(folder, tree))
            folder = above

    def _tree(self, folder: PendingFolder) -> bytes:
        children = folder.children
        children.sort(key=_name_of)
        folders_hash = _NO_FOLDERS
        if children:
            folders_hash = hash_of_folders([(one.name, one.own, one.tree) for one in children])
        known, nodes = folder.known, list[NamedNode]()
        if folder.is_same and known is not None and known.folders == folders_hash:
            tree = known.tree
        else:
            nodes = self._entry_nodes(folder)
            nodes += [(child.name, self._folder_node(child)) for child in children]
            nodes.sort()
            tree = self._save(folder, nodes)
            with self._lock:
                if folder.old_tree is None:
                    self.tally.folders_new += 1
                elif folder.old_tree != tree:
                    self.tally.folders_changed += 1
        if self._roots is not None:
            self._roots.see(folder, tree, nodes, self._examiner.old_nodes)
        is_settled = all(one.is_own_settled for one in children)
        self._note(folder, folders_hash if is_settled else UNSETTLED, tree)
        return tree

    def _save(self, folder: PendingFolder, nodes: Sequence[NamedNode]) -> bytes:
        batches = folder.batches
        if batches is None:
            return self._saver.save_tree(join_nodes(node for _, node in nodes))
        # The tree of a very large directory never stands in memory as a whole.
        return self._saver.save_pieces(
            BlobKind.TREE, lambda: join_in_pieces(node for _, node in batches.merged(nodes))
        )

    def _entry_nodes(self, folder: PendingFolder) -> list[NamedNode]:
        if folder.is_same and not self._examiner.keep_old_nodes(folder):
            counted = Tally()
            self._examiner.examine([(folder, folder.found.entries)], counted)
            with self._lock:
                self.tally.read_bytes += counted.read_bytes
                self.tally.problems += counted.problems
        return folder.nodes

    def _folder_node(self, child: Child) -> bytes:
        user, group = self._examiner.owner(child.entry)
        return self._examiner.writer.directory(
            child.entry,
            subtree=child.tree,
            user=user,
            group=group,
            xattrs=child.attributes,
        )

    def _note(self, folder: PendingFolder, folders_hash: bytes, tree: bytes) -> None:
        remembered = folder.remembered(folders_hash, tree)
        with self._lock:
            self.notes.add(remembered)

    def _show(self, *, is_last: bool = False) -> None:
        now = self._surroundings.clock.monotonic_seconds()
        if now - self._progress_at < _PROGRESS_SECONDS and not is_last:
            return
        self._progress_at = now
        self._check_lock()
        with self._lock:
            tallies = (self.tally, *self._under_way)
            files = sum(one.files for one in tallies)
            done_bytes = sum(one.processed_bytes + one.reading_bytes for one in tallies)
            problems = sum(one.problems for one in tallies)
            current = next((one.reading for one in tallies if one.reading), self._current)
        if is_last or done_bytes >= self._shown_bytes:
            self._shown_bytes, self._shown = done_bytes, current
        # Else a long file belongs to neither of two counts just now; nobody should see that.
        files_total, bytes_total = self._expected or (None, None)
        self._surroundings.events(
            Progress(
                Verb.BACKUP,
                files_done=files,
                bytes_done=self._shown_bytes,
                files_total=files_total,
                bytes_total=bytes_total,
                current=self._shown,
                problems=problems + self._scanner.problems,
            )
        )


def _parts(entries: Sequence[Entry]) -> Iterator[tuple[Sequence[Entry], int]]:
    """Cut what is in a directory into pieces of work, with the length of the files in each."""
    start = size_bytes = 0
    for number, entry in enumerate(entries, 1):
        size_bytes += entry.size_bytes
        if number - start >= _PART_ENTRIES or size_bytes >= _PART_BYTES:
            yield entries[start:number], size_bytes
            start, size_bytes = number, 0
    if start < len(entries):
        yield entries[start:], size_bytes


def _name_of(child: Child) -> bytes:
    return child.name
