"""Restores a snapshot: pack by pack, and every file by one thread if it is small.

The calling thread walks, decides in which order content is read, makes directories, begins files
shortly before their content comes, and decodes, writes and finishes small files. One thread reads
for it. Others read, decode, verify, write and finish what is large: the little that is done for a
small file does not suffer company.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeAlias, final

from backapp_core.plugin_api import DamagedRepository, HasFolder, Problem, Selection, Target, Verb
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.nodes import node_of
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.parallel import working_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.blob_reader import BlobReader, Content, Sealed
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader
from backapp_plugins.archivers.restic.reading.walking import Walk
from backapp_plugins.archivers.restic.restore.file_making import is_zeros
from backapp_plugins.archivers.restic.restore.jobs import (
    HANDED_OUT_FILES,
    JOB_FILES,
    Job,
    Plan,
    Use,
)
from backapp_plugins.archivers.restic.restore.late_nodes import LateNodes
from backapp_plugins.archivers.restic.restore.makers import Makers
from backapp_plugins.archivers.restic.restore.window import (
    FileAhead,
    FolderAhead,
    Gatherer,
    Window,
    WindowsAhead,
)

_SMALL_BYTES = 32 << 10
"""Of a blob as it is stored. Threads that hand each other the interpreter for every system call of
a small file took twice the time that one thread takes alone."""
_SPREAD_FILES = 96
"""Open files at most whose content comes in several pieces, perhaps from far apart."""

_Fetched: TypeAlias = list[tuple[int, Sealed]]
_HandedOut: TypeAlias = tuple[Job, Future[_Fetched]]
"""A job that a thread is at, and what of it is left to the thread that restores."""


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
    run = _Restore(place, index, target)
    with ExitStack() as stack:
        late = LateNodes()
        stack.callback(late.close)
        for pool in (run.readers, run.workers):
            stack.callback(pool.shutdown, cancel_futures=True)
        stack.enter_context(run.makers)
        run.restore_files(root, selection, late)
        target.links_follow()
        run.restore_late(late)
    run.report()


@final
class _Restore:
    def __init__(self, place: Place, index: Index, target: Target) -> None:
        self._place = place
        self._target = target
        self._table = index.table()
        self._reader = BlobReader(place, index)
        self._trees = TreeReader(place, index)
        self._is_far = not isinstance(place.transport, HasFolder)
        threads = max(working_threads(place) - 1, 1)
        self.readers = ThreadPoolExecutor(1, "read")
        self.workers = ThreadPoolExecutor(threads, "restore")
        self.makers = Makers(place, target, self._make)
        self._most_large = threads + 2
        self._large: deque[_HandedOut] = deque()
        self._spread: set[FileAhead] = set()
        self._faults = 0
        self._first_fault: DamagedRepository | None = None

    def restore_files(self, root: bytes, selection: Selection, late: LateNodes) -> None:
        walk = Walk(self._trees, root, selection, self._fault)
        windows = WindowsAhead(Gatherer(walk, selection, late, self._fault))
        while window := windows.take():
            self._restore_window(window, windows.go_on)
        while self._large:
            self._finish(*self._large.popleft())
        for job in self.makers.finish():
            self._restore_here(job)

    def restore_late(self, late: LateNodes) -> None:
        target, cancel = self._target, self._place.surroundings.cancel
        for path, stored, existing in late:
            cancel.check()
            node = node_of(path, stored)
            if existing:
                target.link(node, existing)
            else:
                target.special(node)

    def report(self) -> None:
        self._reader.report()
        self._trees.report()
        error = self._first_fault
        if error is not None and self._faults > 1:
            error = DamagedRepository(f"{error.message} (and {self._faults - 1} more like it)")
        if error is not None:
            raise error

    def _restore_window(self, window: Window, meanwhile: Callable[[], bool]) -> None:
        self.makers.announce(window.files)
        plan = Plan(self._table, window.files)
        plain = [file for file in window.files if file.reason or not file.ids]
        for file in plain:
            if file.folder.is_made:
                self._restore_plain(file)
            else:
                file.folder.waiting.append(file)
        put_off = self._restore_contents(plan, meanwhile)
        while put_off:
            put_off = self._restore_contents(Plan(self._table, put_off), meanwhile)
        for folder in (*window.folders, *(file.folder for file in plain)):
            self._make(folder)

    def _restore_contents(self, plan: Plan, meanwhile: Callable[[], bool]) -> list[FileAhead]:
        """Restore what ``plan`` says but for the files that are returned: too many were open."""
        put_off: dict[FileAhead, None] = {}
        is_elsewhere = plan.is_handed_out & self.makers.are_coming
        is_small = (plan.length_bytes < _SMALL_BYTES) & (not self._is_far)
        is_small |= plan.uses > JOB_FILES
        jobs_of_others = plan.jobs(~(is_elsewhere | is_small))
        for planned in plan.jobs(is_elsewhere, HANDED_OUT_FILES):
            self._hand_out_some(jobs_of_others, put_off)
            for left in self.makers.hand_out(planned, meanwhile):
                self._restore_here(left)
            self._finish_large()
        small: deque[_HandedOut] = deque()
        for planned in plan.jobs(is_small & ~is_elsewhere):
            self._hand_out_some(jobs_of_others, put_off)
            job = self._begin(planned, put_off)
            small.append((job, self.readers.submit(self._fetch, job)))
            if len(small) > 1:
                self._finish(*small.popleft())
            self._finish_large()
        for handed_out in small:
            self._finish(*handed_out)
        for planned in jobs_of_others:
            job = self._begin(planned, put_off)
            if len(self._large) >= self._most_large and not self._is_far:
                self._finish_small(job, self._restore_large(job))  # rather than wait
            else:
                self._hand_out(job)
            self._finish_large()
        return list(put_off)

    # --- content, small on this thread and large on any

    def _restore_here(self, job: Job) -> None:
        """Restore what workers did not, none of which is spread."""
        for planned in job.pieces():
            part = self._begin(planned, {})
            self._finish_small(part, self._fetch(part))

    def _hand_out_some(self, jobs: Iterator[Job], put_off: dict[FileAhead, None]) -> None:
        while len(self._large) < self._most_large and (job := next(jobs, None)):
            self._hand_out(self._begin(job, put_off))

    def _hand_out(self, job: Job) -> None:
        if len(self._large) >= self._most_large:
            self._finish(*self._large.popleft())
        self._large.append((job, self.workers.submit(self._restore_large, job)))

    def _finish_large(self) -> None:
        """Take note of what threads have done."""
        self._place.surroundings.cancel.check()
        while self._large and self._large[0][1].done():
            self._finish(*self._large.popleft())

    def _finish(self, job: Job, left: Future[_Fetched]) -> None:
        self._finish_small(job, left.result())

    def _finish_small(self, job: Job, left: _Fetched) -> None:
        for at, sealed in left:
            content = self._reader.open(BlobKind.DATA, job.pack_id, job.blobs[at], sealed)
            self._write(job.uses[at], content)

    def _fetch(self, job: Job) -> _Fetched:
        return list(self._reader.fetch(BlobKind.DATA, job.pack_id, job.blobs))

    def _restore_large(self, job: Job) -> _Fetched:
        """Fetch a job's blobs, write the large ones and return the others."""
        small: _Fetched = []
        for at, sealed in self._reader.fetch(BlobKind.DATA, job.pack_id, job.blobs):
            blob = job.blobs[at]
            if blob.length < _SMALL_BYTES:
                small.append((at, sealed))
            else:
                content = self._reader.open(BlobKind.DATA, job.pack_id, blob, sealed)
                self._write(job.uses[at], content)
        return small

    def _write(self, uses: Sequence[Use], content: Content) -> None:
        """Write a blob to where it belongs."""
        if isinstance(content, DamagedRepository):
            for file, _ in uses:
                if file.lose(content.message):
                    self._spread.discard(file)
            return
        piece = None if is_zeros(content) else content
        for file, offset in uses:
            if file.put(offset, piece):
                self._spread.discard(file)

    # --- what the target is asked for, by this thread alone

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
        """Restore a file that needs no content, or say why it cannot be."""
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

    def _fault(self, path: bytes, error: DamagedRepository) -> None:
        self._faults += 1
        self._first_fault = self._first_fault or error
        self._place.surroundings.events(Problem(Verb.RESTORE, path, error.message))
