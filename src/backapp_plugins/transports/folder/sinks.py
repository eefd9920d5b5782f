"""Writes the content of one object to its file; long content goes past the system's cache.

Whoever stores an object waits for the disk anyway, so that cache spares nobody anything: it costs
a copy of every byte, and the pages that the machine's other programs had in it.
"""

import errno
import os
import sys
from typing import final

_GATHER_BYTES = 1 << 20
"""Shorter chunks are written together."""
_LONG_BYTES = 4 << 20
"""From here on it is worth it to go past the cache."""
_NOT_DIRECT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What a file system answers that cannot go past the cache, or not with this chunk."""


@final
class Sink:
    """Writes to an open file, from where it stands; used by one thread."""

    def __init__(self, descriptor: int, *, expected_bytes: int | None) -> None:
        """Write to ``descriptor``; ``expected_bytes`` is the length of all of it, if known."""
        self._descriptor = descriptor
        self._gathered = bytearray()
        is_long = expected_bytes is not None and expected_bytes >= _LONG_BYTES
        self._is_direct = is_long and _goes_direct(descriptor)

    def write(self, chunk: bytes | memoryview) -> None:
        """Write a chunk now, or with those that follow.

        Raises:
            OSError: If it cannot be written.
        """
        if self._gathered or len(chunk) < _GATHER_BYTES:
            self._gathered += chunk
            if len(self._gathered) >= _GATHER_BYTES:
                self.flush()
        else:
            self._write(chunk)

    def flush(self) -> None:
        """Write what was gathered; this does not wait for the disk.

        Raises:
            OSError: If it cannot be written.
        """
        self._write(self._gathered)
        self._gathered.clear()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as rest:
            done = 0
            while done < len(rest):
                try:
                    done += os.write(self._descriptor, rest[done:])
                except OSError as error:
                    # Only whole sectors go past the cache, from memory that begins at one. The
                    # end of an object is none, and chunks need not be. Files that their system
                    # compresses may take the flag (NTFS), and refuse each write then.
                    if error.errno not in _NOT_DIRECT or not self._is_direct:
                        raise
                    self._is_direct = _set_direct(self._descriptor, is_direct=False)


def _goes_direct(descriptor: int) -> bool:
    """Say whether what is written to a file goes to its disk at once from now on.

    Only asked of file systems that stand on one disk, or what the system takes for one: others
    (in memory, over a network, of layers) refuse, or take long for each write that must be there.
    """
    if sys.platform != "linux" or not os.major(os.fstat(descriptor).st_dev):
        return False
    return _set_direct(descriptor, is_direct=True)


def _set_direct(descriptor: int, *, is_direct: bool) -> bool:
    """Say whether what is written goes past the cache now, which not every file system can do.

    Raises:
        OSError: If it cannot be made to go through the cache again.
    """
    if sys.platform != "linux":
        return False
    import fcntl  # not on Windows

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(
            descriptor, fcntl.F_SETFL, flags | os.O_DIRECT if is_direct else flags & ~os.O_DIRECT
        )
    except OSError:
        if not is_direct:
            raise
        return False  # whatever the reason is, it tells in writing if it matters
    return is_direct
