"""Reads and saves small files many at a time, by itself or with workers."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeAlias, final

from backapp_core.plugin_api import (
    CancelToken,
    DamagedRepository,
    Entry,
    FoundDirectory,
    SourceError,
    WorkerLost,
)
from backapp_plugins.archivers.restic.backup.small_file_reading import ReadFile
from backapp_plugins.archivers.restic.format.layout import MIN_CHUNK_BYTES, BlobKind
from backapp_plugins.archivers.restic.workers.crew import Crew
from backapp_plugins.archivers.restic.workers.worker import Worker
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

_BATCH_BYTES = 2 << 20
"""So much is read and encoded together; a worker and its asker hold so much each."""

_ALONE_BYTES = 512 << 10
"""So much by a thread for itself, for which fewer files at a time cost nothing."""

_OPENING_BYTES = 8 << 10
"""The way to a file takes about as long as so much of its content."""
WORTH_WORKERS_BYTES = 32 << 20
"""So much, ways included, takes about as long as starting workers."""

SmallFile: TypeAlias = tuple[FoundDirectory, Entry]


class Saved(NamedTuple):
    """What was saved of a small file."""

    entry: Entry
    """The facts when it was opened."""
    content_ids: list[bytes]
    size_bytes: int
    attributes: tuple[tuple[bytes, bytes], ...] | None
    """None if they could not be read on the way."""
    has_changed: bool
    """Whether it changed while it was read."""


@final
class SmallFileSaver:
    """Saves small files for any number of threads."""

    def __init__(self, saver: BlobSaver, crew: Crew | None, cancel: CancelToken) -> None:
        """Hand what is new to ``saver``; ``crew`` are workers that run a `SmallFileReading`."""
        self._saver = saver
        self._crew = crew
        self._check = cancel.check

    def save(self, files: Sequence[SmallFile]) -> Iterator[Saved | SourceError | None]:
        """Read and save files; yields for each what was saved, in their order.

        None is yielded for a file that has grown so much that it is none of the small ones any
        more, and the error for one that cannot be read.

        Raises:
            TransportError: If storing what came earlier failed.
            DamagedRepository: If a blob cannot be encoded without loss.
            WorkerLost: If a worker ended that had taken something over.
            RunCancelled: If the run is asked to stop.
        """
        for batch in _batches(files, _BATCH_BYTES):
            self._check()
            worker = self._crew.borrow(_work(batch)) if self._crew is not None else None
            if worker is not None:
                yield from self._save_with(worker, batch)
                continue
            for some in _batches(batch, _ALONE_BYTES):
                yield from self._save_by_itself(some)

    def _save_by_itself(self, files: Sequence[SmallFile]) -> Iterator[Saved | SourceError | None]:
        read = list(map(self._read, files))
        contents = [one[1] for one in read if isinstance(one, tuple) and one[1]]
        ids = iter(self._saver.save_all(contents))
        for one in read:
            if isinstance(one, tuple):
                saved, content = one
                yield saved._replace(content_ids=[next(ids)]) if content else saved
            else:
                yield one

    def _read(self, file: SmallFile) -> tuple[Saved, bytes] | SourceError | None:
        self._check()
        found, entry = file
        try:
            whole = found.read_whole(entry, MIN_CHUNK_BYTES)
        except SourceError as error:
            return error
        if whole is None:
            return None
        entry, content, attributes, has_changed = whole
        return Saved(entry, [], len(content), attributes, has_changed), content

    def _save_with(
        self, worker: Worker, files: Sequence[SmallFile]
    ) -> Iterator[Saved | SourceError | None]:
        crew, connection = self._crew, worker.connection
        if crew is None:
            raise ValueError("a worker of no crew")
        try:
            connection.send([*_by_directory(files)])
            read: Sequence[ReadFile | None]
            read, joined_ids = connection.recv()
        except (EOFError, OSError):
            self._lost(crew, worker)  # nothing was taken over yet
            yield from self._save_by_itself(files)
            return
        ids = [joined_ids[at : at + 32] for at in range(0, len(joined_ids), 32)]
        sizes = [one[1] for one in read if one is not None and one[1]]
        try:
            self._saver.save_made(BlobKind.DATA, ids, sizes, lambda new: _ask(connection, new))
        except (EOFError, OSError) as error:
            raise self._lost(crew, worker) from error
        except BaseException:
            crew.dismiss(worker)
            raise
        crew.give_back(worker)
        left = iter(ids)
        for file, one in zip(files, read, strict=True):
            if one is None:
                yield from self._save_by_itself([file])
            else:
                entry, size_bytes, attributes, has_changed = one
                content_ids = [next(left)] if size_bytes else []
                yield Saved(entry or file[1], content_ids, size_bytes, attributes, has_changed)

    def _lost(self, crew: Crew, worker: Worker) -> WorkerLost:
        """Return the error for a worker that is gone, unless it is because the run is to stop.

        Raises:
            RunCancelled: If it is: all workers are ended then.
        """
        lost = crew.dismiss(worker)
        self._check()
        return lost


def _work(files: Sequence[SmallFile]) -> int:
    return sum(_OPENING_BYTES + entry.size_bytes for _, entry in files)


def _batches(files: Sequence[SmallFile], most_bytes: int) -> Iterator[Sequence[SmallFile]]:
    start = size_bytes = 0
    for at, (_, entry) in enumerate(files):
        if size_bytes >= most_bytes:
            yield files[start:at]
            start, size_bytes = at, 0
        size_bytes += entry.size_bytes
    if start < len(files):
        yield files[start:]


def _by_directory(files: Sequence[SmallFile]) -> Iterator[tuple[FoundDirectory, list[Entry]]]:
    for found, group in groupby(files, key=lambda file: file[0]):
        yield found, [entry for _, entry in group]


def _ask(connection: "Connection[Any, Any]", new: Sequence[int]) -> list[memoryview]:
    """Return the blobs with these numbers, encoded.

    Raises:
        DamagedRepository: If one could not be encoded without loss.
    """
    connection.send(new)
    lengths: list[int] | DamagedRepository = connection.recv()
    if isinstance(lengths, DamagedRepository):
        raise lengths
    joined = memoryview(connection.recv_bytes())
    at = 0
    blobs: list[memoryview] = []
    for length in lengths:
        blobs.append(joined[at : at + length])
        at += length
    return blobs
