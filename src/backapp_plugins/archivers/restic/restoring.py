"""Restores a snapshot: walks ahead, reads pack by pack, and writes where content was decoded.

The calling thread walks, decides in which order content is read, makes directories, begins files
shortly before their content comes, and restores small files itself. Others read, decode, verify,
write and finish what is large: the little that is done for a small file does not suffer company.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import final

from backapp_core.plugin_api import (
    DamagedRepository,
    HasFolder,
    Problem,
    Selection,
    Target,
    Verb,
)
from backapp_plugins.archivers.restic.index import Index
from backapp_plugins.archivers.restic.late_nodes import LateNodes
from backapp_plugins.archivers.restic.layout import BlobKind
from backapp_plugins.archivers.restic.nodes import node_of
from backapp_plugins.archivers.restic.parallel import working_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading import BlobReader
from backapp_plugins.archivers.restic.restore_jobs import JOB_FILES, Job, Plan
from backapp_plugins.archivers.restic.restore_window import (
    FileAhead,
    FolderAhead,
    Gatherer,
    Window,
)
from backapp_plugins.archivers.restic.tree_reader import TreeReader
from backapp_plugins.archivers.restic.walking import Walk

_SMALL_BYTES = 32 << 10
"""Of a blob as it is stored. Threads that hand each other the interpreter for every system call of
a small file took twice the time that one thread takes alone."""
_SPREAD_FILES = 96
"""Open files at most whose content comes in several pieces, perhaps from far apart."""


def restore(place: Place, index: Index, root: bytes, target: Target, selection: Selection) -> None:
    """Write the selected nodes below the tree ``root`` into ``target``; closing it is left.

    A file whose content is damaged is abandoned, a tree that is damaged is left out and reported,
    and the rest is restored.

    Raises:
        DamagedRepository: At the end, if trees or entries could not be used.
        TargetError: If the target cannot go on.
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    _Restore(place, index, target).run(root, selection)


@final
class _Restore:
    def __init__(self, place: Place, index: Index, target: Target) -> None:
        self._place = place
        self._target = target
        self._table = index.table()
        self._reader = BlobReader(place, index)
        self._trees = TreeReader(place, index)
        self._threads = max(working_threads(place) - 1, 1)
        self._most_waiting = self._threads + 2
        self._small_bytes = _SMALL_BYTES if isinstance(place.transport, HasFolder) else 0
        self._waiting: deque[Future[None]] = deque()
        self._spread: set[FileAhead] = set()
        self._faults = 0
        self._first_fault: DamagedRepository | None = None

    def run(self, root: bytes, selection: Selection) -> None:
        with ExitStack() as stack:
            late = LateNodes()
            stack.callback(late.close)
            walk = Walk(self._trees, root, selection, self._fault)
            gatherer = Gatherer(walk, selection, late, self._fault)
            self._restore_files(gatherer)
            self._target.links_follow()
            self._restore_late(late)
        self._reader.report()
        self._trees.report()
        if self._first_fault is not None:
            error = self._first_fault
            if self._faults > 1:
                raise DamagedRepository(f"{error.message} (and {self._faults - 1} more like it)")
            raise error

    def _restore_files(self, gatherer: Gatherer) -> None:
        pool = ThreadPoolExecutor(self._threads, "restore")
        try:
            for window in gatherer.windows():
                self._restore_window(window, pool)
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _restore_window(self, window: Window, pool: ThreadPoolExecutor) -> None:
        plan = Plan(self._table, window.files)
        plain = [file for file in window.files if file.reason or not file.ids]
        for file in plain:
            if file.folder.is_made:
                self._restore_plain(file)
            else:
                file.folder.waiting.append(file)
        put_off = self._restore_contents(plan, pool)
        while put_off:
            put_off = self._restore_contents(Plan(self._table, put_off), pool)
        for folder in (*window.folders, *(file.folder for file in plain)):
            self._make(folder)

    def _restore_contents(self, plan: Plan, pool: ThreadPoolExecutor) -> list[FileAhead]:
        """Restore what ``plan`` says but for the files that are returned: too many were open."""
        put_off: dict[FileAhead, None] = {}
        is_small = (plan.length_bytes < self._small_bytes) | (plan.uses > JOB_FILES)
        large = plan.jobs(~is_small)
        for job in plan.jobs(is_small):
            while len(self._waiting) < self._most_waiting and (other := next(large, None)):
                self._waiting.append(pool.submit(self._write, self._begin(other, put_off)))
            self._write(self._begin(job, put_off))
            self._collect()
        for job in large:
            self._collect()
            if len(self._waiting) < self._most_waiting:
                self._waiting.append(pool.submit(self._write, self._begin(job, put_off)))
            else:
                self._write(self._begin(job, put_off))
        return list(put_off)

    def _collect(self) -> None:
        """Take note of what threads have done."""
        self._place.surroundings.cancel.check()
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()

    def _begin(self, job: Job, put_off: dict[FileAhead, None]) -> Job:
        """Begin the files that a job is the first to bring content for; return what is needed."""
        is_all = True
        for uses in job.uses:
            for file, _ in uses:
                if not file.is_begun and file not in put_off:
                    if file.is_spread and len(self._spread) >= _SPREAD_FILES:
                        put_off[file] = None
                    else:
                        self._open(file)
                is_all = is_all and file.file is not None
        if is_all:
            return job
        live = [[use for use in uses if use[0].file is not None] for uses in job.uses]
        needed = [at for at, uses in enumerate(live) if uses]
        return Job(job.pack_id, [job.blobs[at] for at in needed], [live[at] for at in needed])

    def _open(self, file: FileAhead) -> None:
        if not file.folder.is_made:
            self._make(file.folder)
        file.is_begun = True
        file.file = self._target.file(file.node)
        if file.is_spread and file.file is not None:
            self._spread.add(file)

    def _restore_plain(self, file: FileAhead) -> None:
        self._open(file)
        file.end()
        self._spread.discard(file)

    def _make(self, folder: FolderAhead) -> None:
        """Make a directory and what is above it, and in it what needs no content."""
        way: list[FolderAhead] = []
        above: FolderAhead | None = folder
        while above is not None and not above.is_made:
            way.append(above)
            above = above.above
        for one in reversed(way):
            one.is_made = True
            if one.node is not None:
                self._target.directory(one.node)
            waiting, one.waiting = one.waiting, []
            for file in waiting:
                self._restore_plain(file)

    def _write(self, job: Job) -> None:
        """Read and decode a job's blobs and write each to where it belongs; on any thread."""
        for at, content in self._reader.read(BlobKind.DATA, job.pack_id, job.blobs):
            if isinstance(content, DamagedRepository):
                for file, _ in job.uses[at]:
                    if file.lose(content.message):
                        self._spread.discard(file)
                continue
            piece = None if _is_zeros(content) else content
            for file, offset in job.uses[at]:
                if file.put(offset, piece):
                    self._spread.discard(file)

    def _restore_late(self, late: LateNodes) -> None:
        target, cancel = self._target, self._place.surroundings.cancel
        for path, stored, existing in late:
            cancel.check()
            node = node_of(path, stored)
            if existing:
                target.link(node, existing)
            else:
                target.special(node)

    def _fault(self, path: bytes, error: DamagedRepository) -> None:
        self._faults += 1
        self._first_fault = self._first_fault or error
        self._place.surroundings.events(Problem(Verb.RESTORE, path, error.message))


def _is_zeros(content: bytes) -> bool:
    """Say whether nothing has to be written: what is not written of a file reads as zeros."""
    return not content or (not content[0] and content == bytes(len(content)))
