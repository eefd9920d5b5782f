"""Saves the content of one file: cut, hashed, compressed and sealed on all cores."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple, final

from backapp_core.plugin_api import CancelToken, OpenedFile
from backapp_plugins.archivers.restic.backup.small_files import SmallFileSaver
from backapp_plugins.archivers.restic.chunking.chunker import Chunk, Chunker, open_chunker
from backapp_plugins.archivers.restic.chunking.cutter import ZeroRun
from backapp_plugins.archivers.restic.format.layout import MIN_CHUNK_BYTES, BlobKind
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

_CHUNKS_AHEAD = 3
"""Per file that is being read; each holds 8 MiB at most."""
_LONG_FILES = 2
"""So many are read at a time: one of them does not keep all cores busy near its end."""


class Content(NamedTuple):
    """What was saved of one file."""

    ids: list[bytes]
    """Its chunks in order."""
    size_bytes: int
    read_bytes: int
    """Less than its size if it has holes."""


@final
class ContentSaver:
    """Saves file contents; any number of threads may use it, each with one file at a time.

    What fits into one chunk is encoded by the thread that read it. The chunks of a larger file are
    handed to further threads, so that one huge file keeps all cores busy, too.
    """

    def __init__(
        self,
        saver: BlobSaver,
        small_files: SmallFileSaver,
        pool: ThreadPoolExecutor,
        cancel: CancelToken,
        *,
        cutting: str,
        polynomial: int,
    ) -> None:
        self._saver = saver
        self.save_small = small_files.save
        self._pool = pool
        self._cancel = cancel
        self._cutting = cutting
        self._polynomial = polynomial
        self._local = threading.local()
        self._zero_ids: dict[int, bytes] = {}
        self._room = threading.BoundedSemaphore(_LONG_FILES)

    def save(self, file: OpenedFile, read_on: Callable[[int], None]) -> Content:
        """Return the ids of the chunks of a file, and how much there was of it.

        Args:
            file: What is saved.
            read_on: Told how much more of a longer file is on its way.

        Raises:
            SourceError: If it cannot be read.
            TransportError: If the destination fails.
        """
        if file.is_stream:
            return self._save_chunks(self._chunker.stream_chunks(file.read_at), read_on)
        size_bytes = file.entry.size_bytes
        if size_bytes <= MIN_CHUNK_BYTES:
            data = file.read_at(0, size_bytes)
            ids = [self._saver.save(BlobKind.DATA, data)] if data else []
            return Content(ids, len(data), len(data))
        chunks = self._chunker.chunks(file.read_at, size_bytes, file.extents())
        return self._save_chunks(chunks, read_on)

    @property
    def _chunker(self) -> Chunker:
        try:
            return self._local.chunker  # type: ignore[no-any-return]  # a thread's attributes have no types
        except AttributeError:
            chunker = open_chunker(self._cutting, self._polynomial)
            self._local.chunker = chunker
            return chunker

    def _save_chunks(self, chunks: Iterator[Chunk], read_on: Callable[[int], None]) -> Content:
        ids: list[bytes] = []
        size_bytes = read_bytes = 0
        ahead: deque[Future[bytes]] = deque()
        unfinished: set[Future[bytes]] = set()
        self._room.acquire()
        try:
            for chunk in chunks:
                self._cancel.check()
                if isinstance(chunk, ZeroRun):
                    ids.extend(future.result() for future in ahead)
                    ahead.clear()
                    ids.extend([self._zeros(chunk.chunk_bytes)] * chunk.chunk_count)
                    size_bytes += chunk.chunk_bytes * chunk.chunk_count
                    read_on(chunk.chunk_bytes * chunk.chunk_count)
                    continue
                ahead.append(self._pool.submit(self._saver.save, BlobKind.DATA, chunk))
                unfinished.add(ahead[-1])
                size_bytes += len(chunk)
                read_bytes += len(chunk)
                if len(unfinished) > _CHUNKS_AHEAD:
                    unfinished = _one_less(unfinished)
                while ahead and ahead[0].done():
                    ids.append(ahead.popleft().result())
                read_on(len(chunk))
            ids.extend(future.result() for future in ahead)
        except BaseException:
            for future in ahead:
                future.cancel()
            raise
        finally:
            self._room.release()
        return Content(ids, size_bytes, read_bytes)

    def _zeros(self, length: int) -> bytes:
        blob_id = self._zero_ids.get(length)
        if blob_id is None:
            blob_id = self._saver.save(BlobKind.DATA, bytes(length))
            self._zero_ids[length] = blob_id
        return blob_id


def _one_less(unfinished: set[Future[bytes]]) -> set[Future[bytes]]:
    """Wait for any, and return the others; one that failed does not wait for those before it."""
    finished, rest = wait(unfinished, return_when=FIRST_COMPLETED)
    for future in finished:
        future.result()
    return rest
