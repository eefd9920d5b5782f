"""Remembers the directories of a restore, however many, and gives them back in reverse."""

import os
import tempfile
from collections.abc import Iterator

import msgspec

from backapp_core.errors import TargetError
from backapp_core.model.entries import Node

_BLOCK_RECORDS = 1024
_SECOND_NS = 1_000_000_000
# What no system takes as a time, and what still fits into the record.
_FIRST_SECOND = -(1 << 63)
_LAST_SECOND = (1 << 64) - 1
_ID_LIMIT = 0xFFFFFFFF


class DirectoryRecord(msgspec.Struct, array_like=True, frozen=True):
    """What a directory is given at the end."""

    path: bytes
    mode: int
    uid: int
    gid: int
    mtime_seconds: int
    """Apart: nanoseconds since 1970 outgrow 64 bits in 2262, and file systems keep later times."""
    mtime_rest_ns: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    is_new: bool
    """Whether the restore made it."""

    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds."""
        return self.mtime_seconds * _SECOND_NS + self.mtime_rest_ns


class DirectorySpool:
    """A stack of directory records, kept in an unlinked temporary file but for the last ones."""

    def __init__(self) -> None:
        self._recent: list[DirectoryRecord] = []
        self._blocks: list[tuple[int, int]] = []
        self._fd = -1
        self._end = 0

    def push(self, node: Node, *, is_new: bool) -> None:
        """Remember a directory.

        Raises:
            TargetError: If the temporary file cannot be written.
        """
        seconds, rest_ns = divmod(node.mtime_ns, _SECOND_NS)
        record = DirectoryRecord(
            node.path,
            node.mode & 0o7777,
            min(max(node.uid, -1), _ID_LIMIT),
            min(max(node.gid, -1), _ID_LIMIT),
            min(max(seconds, _FIRST_SECOND), _LAST_SECOND),
            rest_ns,
            node.xattrs,
            is_new,
        )
        self._recent.append(record)
        if len(self._recent) == _BLOCK_RECORDS:
            try:
                self._write_block()
            except OSError as error:
                raise TargetError(
                    "folders cannot be remembered in a temporary file in "
                    f"'{tempfile.gettempdir()}': {error.strerror}"
                ) from error

    def pop_all(self) -> Iterator[DirectoryRecord]:
        """Yield all records, the last first.

        Raises:
            OSError: If the temporary file cannot be read.
        """
        while self._recent:
            yield self._recent.pop()
        decoder = msgspec.msgpack.Decoder(list[DirectoryRecord])
        while self._blocks:
            offset, length = self._blocks.pop()
            yield from reversed(decoder.decode(os.pread(self._fd, length, offset)))

    def close(self) -> None:
        """Forget everything; closing twice is fine."""
        self._recent.clear()
        self._blocks.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_block(self) -> None:
        if self._fd < 0:
            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        block = msgspec.msgpack.encode(self._recent)
        view = memoryview(block)
        written = 0
        while written < len(block):
            written += os.pwrite(self._fd, view[written:], self._end + written)
        self._blocks.append((self._end, len(block)))
        self._end += len(block)
        self._recent.clear()
