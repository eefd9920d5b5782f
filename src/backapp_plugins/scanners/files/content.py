"""The bytes of one regular file."""

import errno
import os
from collections.abc import Sequence
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import Entry, Extent, OpenedFile
from backapp_plugins.scanners.files.faults import source_error


@final
class OpenedContent(OpenedFile):
    """A descriptor and the facts it had when it was opened.

    The content ends where it ended then: what is appended while it is read belongs to the next
    backup. Files of kernel file systems, which say that they are empty, are therefore never read.
    """

    def __init__(self, descriptor: int, entry: Entry, *, actual_bytes: int) -> None:
        self.entry = entry
        self._actual_bytes = actual_bytes
        self._descriptor = descriptor

    @override
    def extents(self) -> Sequence[Extent] | None:
        size_bytes = self.entry.size_bytes
        if self.entry.allocated_bytes >= size_bytes or not hasattr(os, "SEEK_DATA"):
            return None
        try:
            found = self._find_extents(size_bytes)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
                return None  # This file system cannot say.
            raise source_error(error) from error
        return None if found == [(0, size_bytes)] else found

    def _find_extents(self, size_bytes: int) -> list[Extent]:
        found: list[Extent] = []
        end = 0
        while end < size_bytes:
            try:
                begin = os.lseek(self._descriptor, end, os.SEEK_DATA)
                end = min(os.lseek(self._descriptor, begin, os.SEEK_HOLE), size_bytes)
            except OSError as error:
                if (
                    error.errno == errno.ENXIO
                ):  # No data from here on, or the file was cut meanwhile.
                    break
                raise
            if begin >= size_bytes:
                break
            if found and found[-1].offset + found[-1].length_bytes == begin:
                begin = found.pop().offset
            found.append(Extent(begin, end - begin))
        return found

    @override
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        left = min(length_bytes, self.entry.size_bytes - offset)
        if left <= 0:
            return b""
        try:
            data = os.pread(self._descriptor, left, offset)
            if len(data) == left or not data:
                return data
            return self._read_on(data, offset, left)
        except OSError as error:
            raise source_error(error) from error

    def _read_on(self, data: bytes, offset: int, wanted_bytes: int) -> bytes:
        """Complete a read that the system answered in part; only the end of the file ends it."""
        pieces = [data]
        done = len(data)
        while done < wanted_bytes and (
            more := os.pread(self._descriptor, wanted_bytes - done, offset + done)
        ):
            pieces.append(more)
            done += len(more)
        return b"".join(pieces)

    @override
    def has_changed(self) -> bool:
        status = os.fstat(self._descriptor)
        return (status.st_size, status.st_mtime_ns, status.st_ctime_ns) != (
            self._actual_bytes,
            self.entry.mtime_ns,
            self.entry.ctime_ns,
        )

    @override
    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
