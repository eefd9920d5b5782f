"""Hands small files of a restore to workers, and takes back what they could not make."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from multiprocessing.connection import wait
from typing import NamedTuple, final

from typing_extensions import override

from backapp_core.plugin_api import Closing, Errand, HasFolder, Level, Target
from backapp_plugins.archivers.restic.format.layout import pack_name
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.restore.file_making import FileMaking, Made, Making
from backapp_plugins.archivers.restic.restore.jobs import Job, Use
from backapp_plugins.archivers.restic.restore.window import FileAhead, FolderAhead
from backapp_plugins.archivers.restic.workers.crew import Crew, may_be_started
from backapp_plugins.archivers.restic.workers.worker import Worker

_OPENING_BYTES = 8 << 10
"""Making a file takes about as long as so much of its content."""
_WORTH_WORKERS_BYTES = 32 << 20
"""So much, files included, takes about as long as starting workers."""
_MOST_AHEAD = 4
"""Jobs that a worker has, so that it need not wait for this process."""
_MOST_FOLDERS = 256
"""So many directories are kept open for workers, about, if that is no more than an eighth of the
files that a process may have open."""
_LOOK_SECONDS = 0.1


class _HandedOut(NamedTuple):
    """A job that a worker is at."""

    job: Job
    errands: list[Errand]
    numbers: dict[FileAhead, int]
    """Of each file, counted through all errands."""


@final
class Makers(Closing):
    """The workers of one restore, if there are any; a context manager, used by one thread.

    Nothing depends on them: what they are not given, what they could not make, and what one had
    before it when it ended comes back as jobs for whoever handed them out.
    """

    def __init__(
        self, place: Place, target: Target, make_folder: Callable[[FolderAhead], None]
    ) -> None:
        """Prepare; ``make_folder`` is called for each directory before files in it are handed on.

        Workers are started once there is enough to do for them.
        """
        self._place = place
        self._target = target
        self._make_folder = make_folder
        self._check = place.surroundings.cancel.check
        self._crew = self._recruited()
        self._waiting: dict[Worker, deque[_HandedOut]] = {}
        self._open_folders = 0
        self._most_folders = _most_folders()

    @override
    def close(self) -> None:
        """End all workers; what they have not finished is for the target to tidy."""
        if self._crew is not None:
            self._crew.close()

    def announce(self, files: Sequence[FileAhead]) -> None:
        """Say what is coming; workers are started when that is worth it."""
        if self._crew is not None:
            work = sum(_OPENING_BYTES + file.node.size_bytes for file in files)
            self._take_in(self._crew.recruit(work))

    @property
    def are_coming(self) -> bool:
        """Whether there are workers, or will be soon."""
        return bool(self._waiting) or (self._crew is not None and self._crew.is_starting)

    def hand_out(self, job: Job, meanwhile: Callable[[], bool]) -> Iterator[Job]:
        """Give a job to a worker, perhaps wait for one; yields what is to be done here.

        Args:
            job: Files none of which is spread.
            meanwhile: Called instead of waiting; does a little of something else, and says whether
                there was anything to do.

        Raises:
            TargetError: If the target cannot go on.
            RunCancelled: If the run is asked to stop.
        """
        if self._crew is not None:
            self._take_in(self._crew.recruit(0))
        yield from self._wait_for_room(meanwhile)
        worker = min(self._waiting, key=lambda one: len(self._waiting[one]), default=None)
        if worker is None:
            yield job
            return
        handed_out, rest = self._hand_over(job)
        if rest is not None:
            yield rest
        if not handed_out.errands:
            return
        self._waiting[worker].append(handed_out)
        self._open_folders += len(handed_out.errands)
        try:
            worker.send(_message(handed_out), [one.folder for one in handed_out.errands])
        except OSError:
            self._check()
            yield from self._lose(worker)

    def finish(self) -> Iterator[Job]:
        """Wait until all is made; yields what is to be done here.

        Raises:
            TargetError: If the target cannot go on.
            RunCancelled: If the run is asked to stop.
        """
        while any(self._waiting.values()):
            yield from self._collect(_LOOK_SECONDS)

    def _recruited(self) -> Crew | None:
        transport, around = self._place.transport, self._place.surroundings
        if not (may_be_started(around) and isinstance(transport, HasFolder)):
            return None
        maker = self._target.file_maker()
        if maker is None:
            return None
        service = FileMaking(self._place.key.master, transport.folder, maker)
        return Crew(service, around.threads, self._check, start_at=_WORTH_WORKERS_BYTES)

    def _take_in(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            self._waiting[worker] = deque()

    def _wait_for_room(self, meanwhile: Callable[[], bool]) -> Iterator[Job]:
        while self._waiting and (
            self._open_folders >= self._most_folders
            or all(len(jobs) >= _MOST_AHEAD for jobs in self._waiting.values())
        ):
            yield from self._collect(_LOOK_SECONDS if not meanwhile() else 0)

    def _collect(self, wait_seconds: float) -> Iterator[Job]:
        """Take note of what workers have made, and wait for it a little."""
        self._check()
        busy = {one.connection: one for one, jobs in self._waiting.items() if jobs}
        for connection in wait(list(busy), wait_seconds):
            worker = busy[connection]  # type: ignore[index]  # it is one of those that were given
            try:
                made: Made = worker.connection.recv()
            except (EOFError, OSError):
                self._check()  # all are ended when the run is asked to stop
                yield from self._lose(worker)
                continue
            yield from self._settle(self._waiting[worker].popleft(), made)

    def _settle(self, handed_out: _HandedOut, made: Made) -> Iterator[Job]:
        self._open_folders -= len(handed_out.errands)
        unmade, lacks = set(made.unmade), dict(made.lacks)
        begin = 0
        for errand in handed_out.errands:
            end = begin + len(errand.files)
            errand.settle(
                {number - begin for number in unmade if begin <= number < end},
                {number - begin: each for number, each in lacks.items() if begin <= number < end},
            )
            begin = end
        if unmade:
            yield _part(handed_out.job, lambda use: handed_out.numbers[use[0]] in unmade)

    def _lose(self, worker: Worker) -> Iterator[Job]:
        """Do without a worker that has ended, and take back what it had before it."""
        jobs = self._waiting.pop(worker)
        how = worker.end()
        for handed_out in jobs:
            self._open_folders -= len(handed_out.errands)
            for errand in handed_out.errands:
                errand.reclaim()
        self._place.say(
            Level.WARNING,
            f"a worker process {how}, perhaps for want of memory; the restore goes on without it",
        )
        for handed_out in jobs:
            yield handed_out.job

    def _hand_over(self, job: Job) -> tuple[_HandedOut, Job | None]:
        """Ask the target for the files of a job, directory by directory.

        What it does not hand over comes back as a job of its own.
        """
        by_folder: dict[FolderAhead, list[FileAhead]] = {}
        for uses in job.uses:
            for file, _ in uses:
                by_folder.setdefault(file.folder, []).append(file)
        errands: list[Errand] = []
        numbers: dict[FileAhead, int] = {}
        for folder, files in by_folder.items():
            if not folder.is_made:
                self._make_folder(folder)
            errand = None
            if len(errands) < self._most_folders // 3:
                errand = self._target.hand_over([file.node for file in files])
            if errand is not None:
                numbers.update(zip(files, count(len(numbers)), strict=False))
                errands.append(errand)
        if len(errands) == len(by_folder):
            return _HandedOut(job, errands, numbers), None
        handed = _part(job, lambda use: use[0] in numbers)
        return _HandedOut(handed, errands, numbers), _part(job, lambda use: use[0] not in numbers)


def _most_folders() -> int:
    if sys.platform == "win32":
        return _MOST_FOLDERS
    import resource  # other systems do not have it

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_FOLDERS if allowed < 0 else min(_MOST_FOLDERS, allowed // 8)


def _message(handed_out: _HandedOut) -> Making:
    job, errands, numbers = handed_out
    return Making(
        pack_name(job.pack_id),
        list(zip(*job.blobs, strict=True)),
        [[numbers[file] for file, _ in uses] for uses in job.uses],
        [at for at, errand in enumerate(errands) for _ in errand.files],
        list(zip(*(file for errand in errands for file in errand.files), strict=True)),
    )


def _part(job: Job, is_wanted: Callable[[Use], bool]) -> Job:
    wanted = [[use for use in uses if is_wanted(use)] for uses in job.uses]
    needed = [at for at, uses in enumerate(wanted) if uses]
    return Job(job.pack_id, [job.blobs[at] for at in needed], [wanted[at] for at in needed])
