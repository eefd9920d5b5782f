"""What "all of it or none of it" rests on: exclusive naming, synchronising, owned drafts."""

import contextlib
import ctypes
import errno
import itertools
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".backapp-"
"""Begins the name of every temporary file; no object name may begin with a dot."""

_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_LINKS = {*_NOT_SUPPORTED, errno.EPERM, errno.EMLINK}
_RENAME_NOREPLACE = 1
_AT_THIS_FOLDER = -100

_numbers = itertools.count()  # two writers of this process never choose the same name


class Draft:
    """A temporary file, owned by its writer until it is published or discarded."""

    def __init__(self, folder: Path, random_bytes: Callable[[int], bytes]) -> None:
        """Say where it will be; nothing is created."""
        self._folder = folder
        self._random_bytes = random_bytes
        self._path: Path | None = None
        self.descriptor = -1

    def create(self) -> None:
        """Create the file under a name of its own, readable and writable for its owner alone.

        Raises:
            OSError: If it cannot be created.
        """
        while self._path is None:
            tag = f"{os.getpid()}-{next(_numbers)}-{self._random_bytes(8).hex()}"
            self._path = self._folder / f"{TEMPORARY_PREFIX}{tag}"
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flags()
                self.descriptor = os.open(self._path, flags, 0o600)
            except OSError as error:
                self._path = None  # nothing of ours has that name
                if error.errno == errno.EEXIST:
                    continue
                raise
            own(self.descriptor, wait=True)
            if not os.fstat(self.descriptor).st_nlink:
                self.discard()  # somebody tidied in the moment before the lock

    def publish(self, final: Path, *, replace: bool) -> None:
        """Bring the content to the disk, give the file its name, and bring that to the disk.

        Raises:
            FileExistsError: If the name is taken and ``replace`` is not set.
            OSError: If it cannot be done, or cannot be known to be on the disk.
            ValueError: If it was not created.
        """
        temporary = self._path
        if temporary is None:
            raise ValueError("a draft is created before it is published")
        sync_file(self.descriptor)
        if replace:
            temporary.replace(final)
        else:
            publish(temporary, final)
        sync_directory(final.parent)

    def discard(self) -> None:
        """Remove the file if it still has its temporary name, and let go of it."""
        path, self._path = self._path, None
        descriptor, self.descriptor = self.descriptor, -1
        try:
            if path is not None:
                path.unlink(missing_ok=True)
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def own(descriptor: int, *, wait: bool) -> bool | None:
    """Lock an open file until it is closed; say whether that worked, None if there are no locks.

    The lock goes with the last descriptor, however its process ends.

    Raises:
        OSError: If the file system fails.
    """
    try:
        import fcntl  # not on Windows, where an open file cannot be removed
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in {*_NOT_SUPPORTED, errno.ENOLCK, errno.EBADF}:
            return None
        raise
    return True


def publish(temporary: Path, final: Path) -> None:
    """Give ``temporary`` the name ``final`` in one step.

    Raises:
        FileExistsError: If the name is taken; of several callers at the same time one succeeds.
        OSError: If it cannot be done.
    """
    if sys.platform == "win32":
        os.rename(temporary, final)  # noqa: PTH104  # never replaces there
        return
    if _rename_without_replacing(temporary, final) or _link_and_unlink(temporary, final):
        return
    descriptor = os.open(final.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        own(descriptor, wait=True)
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        temporary.rename(final)
    finally:
        os.close(descriptor)


def sync_file(descriptor: int) -> None:
    """Return when the file's content is on the disk.

    Raises:
        OSError: If it cannot be known to be.
    """
    if sys.platform == "darwin":
        import fcntl  # fsync stops at the drive's cache there

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_directory(folder: Path) -> None:
    """Return when the names in ``folder`` are on the disk.

    Raises:
        OSError: If it cannot be known that they are.
    """
    if sys.platform == "win32":
        return  # directories cannot be opened there; NTFS journals names
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # one may write names into a directory without the right to read it
        os.sync()
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:  # some network file systems write names at once
            raise
    finally:
        os.close(descriptor)


def open_to_read(path: Path) -> int:
    """Return a descriptor of a file; opening a fifo does not wait for a writer.

    Raises:
        OSError: If it cannot be opened.
    """
    return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _flags())


def open_temporary_to_tidy(path: Path) -> int:
    """Return a descriptor of a temporary file, good for locking on NFS too; links are not followed.

    Raises:
        OSError: If it cannot be opened.
    """
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | _flags()
    return os.open(path, os.O_RDWR | flags)


def _flags() -> int:
    return getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@cache
def _renameat2() -> Any:
    with contextlib.suppress(OSError, AttributeError):  # older libc, or another system
        return ctypes.CDLL(None, use_errno=True).renameat2
    return None


def _rename_without_replacing(temporary: Path, final: Path) -> bool:
    renameat2 = _renameat2()
    if renameat2 is None:
        return False
    here = _AT_THIS_FOLDER
    answer = renameat2(
        here, os.fsencode(temporary), here, os.fsencode(final), ctypes.c_uint(_RENAME_NOREPLACE)
    )
    if answer == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(temporary), None, str(final))


def _link_and_unlink(temporary: Path, final: Path) -> bool:
    try:
        os.link(temporary, final, follow_symlinks=False)
    except FileExistsError:
        # An NFS server repeats an answer that got lost by doing the thing again, and finds it done.
        if not os.path.samestat(temporary.lstat(), final.lstat()):
            raise
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    temporary.unlink()
    return True
