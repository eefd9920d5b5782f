"""Builds the compressed manifest of a snapshot beside the archive that is being sent."""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, final

from backapp_core.plugin_api import StorageFull
from backapp_plugins.archivers.targz.gzip_members import MEMBER_BYTES
from backapp_plugins.archivers.targz.manifest import (
    Block,
    DirLine,
    EntryLine,
    MoreLine,
    encode_block,
    encode_end,
)

_IN_MEMORY_BYTES = 4 << 20
_MEMBERS_AHEAD = 4
_COPY_BYTES = 1 << 20


@final
class ManifestWriter:
    """The body of a manifest: written by one thread, compressed by a pool, spooled if large.

    Its head, which tells the compressed sizes of an archive's members, is only known when that
    archive is stored.
    """

    def __init__(self, pool: ThreadPoolExecutor, compress: Callable[[bytearray], bytes]) -> None:
        self._pool = pool
        self._compress = compress
        self._waiting: deque[Future[bytes]] = deque()
        self._buffer = bytearray()
        self._directories = 0
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115  # closed by close()
            max_size=_IN_MEMORY_BYTES
        )
        self.archives: set[int] = set()
        """Numbers of all archives that entries refer to."""

    def begin_directory(self) -> None:
        """Count a directory; its blocks follow."""
        self._directories += 1

    def add(self, head: DirLine | MoreLine, lines: Sequence[EntryLine]) -> None:
        """Append a block.

        Raises:
            StorageFull: If the temporary folder has no room.
        """
        block = encode_block(head, lines)
        self.archives.update(head.archives)
        self._append(block)

    def _append(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= MEMBER_BYTES:
            self._flush()

    def copy(self, block: Block) -> None:
        """Append a block of the parent's manifest as it stands."""
        self._buffer += block.raw_head
        self.archives.update(block.head.archives)
        self._append(block.raw)

    def finish(self) -> None:
        """Append the end.

        Raises:
            StorageFull: If the temporary folder has no room.
        """
        self._buffer += encode_end(self._directories)
        self._flush()
        while self._waiting:
            self._store(self._waiting.popleft())

    def chunks(self, head: bytes) -> Iterator[bytes]:
        """Yield the whole manifest, compressed, with ``head`` in front; may be called again."""
        yield self._compress(bytearray(head))
        self._spool.seek(0)
        while chunk := self._spool.read(_COPY_BYTES):
            yield chunk

    def close(self) -> None:
        """Give the temporary file back."""
        with suppress(OSError):  # what found no room is tried once more, and nobody wants it now
            self._spool.close()

    def _flush(self) -> None:
        self._waiting.append(self._pool.submit(self._compress, self._buffer))
        self._buffer = bytearray()
        while len(self._waiting) > _MEMBERS_AHEAD:
            self._store(self._waiting.popleft())

    def _store(self, member: Future[bytes]) -> None:
        try:
            self._spool.write(member.result())
        except OSError as error:
            raise StorageFull(
                f"the temporary folder {tempfile.gettempdir()} has no room for the list of files: "
                f"{error.strerror}; free some or point TMPDIR elsewhere"
            ) from error
