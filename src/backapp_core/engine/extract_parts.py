"""Files on their way: temporary names, content at any offset, the final name last.

A temporary name begins with ``.backapp-`` and ends in ``.part``; it names the machine and the
process that made it, so that a later restore removes what a dead process left. Nothing is forced to
the disk: as with tar, a power cut soon after may cost what the system had not written yet.
"""

import errno
import os
import re
import stat
import zlib
from collections.abc import Callable
from functools import cache

from typing_extensions import override

from backapp_core.engine.extract_folders import Folder, remove_attribute
from backapp_core.engine.extract_ledger import Ledger
from backapp_core.engine.extract_metadata import ALL_GIVEN, Rights, give, lacks_access_list
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.model.entries import Node
from backapp_core.ports.targets import TargetFile

_FATAL = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
)
_NO_EXCLUSIVE_RENAME = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))
_RENAME_NOREPLACE = 1
PERMISSIONS = 0o777
OURS_ALONE = 0o600
_PART = re.compile(rb"\.backapp-([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{8}-[0-9a-f]+\.part")
CREATE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class Parts:
    """The temporary names of one restore and the files that have them at present."""

    def __init__(self, token: bytes) -> None:
        """Make names with ``token`` (4 bytes of chance) in them."""
        self._prefix = b".backapp-%s-%d-%s-" % (_place(), os.getpid(), token.hex().encode())
        self._serial = 0
        self.unfinished: set[PartFile] = set()

    def new_name(self) -> bytes:
        """Return a name that this restore has not used."""
        self._serial += 1
        return b"%s%x.part" % (self._prefix, self._serial)

    def abandon_all(self, reason: str) -> None:
        """Remove the files that were not finished."""
        for part in list(self.unfinished):
            part.abandon(reason)


class PartFile(TargetFile):
    """A regular file under a temporary name, to be renamed when it is whole."""

    __slots__ = (
        "_fd",
        "_folder",
        "_ledger",
        "_name",
        "_node",
        "_parts",
        "_replaces",
        "_rights",
        "_temporary",
    )

    def __init__(
        self,
        node: Node,
        folder: Folder,
        name: bytes,
        *,
        replaces: bool,
        parts: Parts,
        rights: Rights,
        ledger: Ledger,
    ) -> None:
        """Create the temporary file in ``folder``.

        Raises:
            OSError: If that fails.
        """
        self._temporary = parts.new_name()
        # Nobody else can reach into a new folder yet, so there it has its mode from the start.
        mode = node.mode & PERMISSIONS if folder.is_new and not node.xattrs else OURS_ALONE
        self._fd = os.open(self._temporary, CREATE, mode, dir_fd=folder.fd)
        self._node = node
        self._folder = folder
        self._name = name
        self._replaces = replaces
        self._parts = parts
        self._rights = rights
        self._ledger = ledger
        parts.unfinished.add(self)

    @override
    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        length = len(data)
        try:
            written = os.pwrite(self._fd, data, offset)
            while written < length:
                written += os.pwrite(self._fd, memoryview(data)[written:], offset + written)
        except OSError as error:
            raise failure(error, "its content cannot be written") from error
        self._ledger.wrote(length)

    @override
    def finish(self) -> None:
        node = self._node
        folder = self._folder
        try:
            found = os.fstat(self._fd)
            if found.st_size != node.size_bytes:
                os.ftruncate(self._fd, node.size_bytes)
            if folder.has_default_acl and lacks_access_list(node):
                remove_attribute(self._fd, "system.posix_acl_access")
            given = give(self._fd, node, found, self._rights)
            fd, self._fd = self._fd, -1
            os.close(fd)
            put_in_place(folder.fd, self._temporary, self._name, replaces=self._replaces)
        except OSError as error:
            raised = failure(error, "it cannot be finished")
            self.abandon(raised.message)
            raise raised from error
        except EntryNotRestored as error:
            self.abandon(error.message)
            raise
        self._parts.unfinished.discard(self)
        if not folder.is_new:
            folder.made.add(found.st_ino)
        if given is not ALL_GIVEN:
            self._ledger.note(node.path, given.fault, is_withheld=given.is_withheld)
        self._ledger.file_done(node, node.size_bytes)

    @override
    def abandon(self, reason: str) -> None:
        if self not in self._parts.unfinished:
            return
        self._parts.unfinished.discard(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        remove_part(self._folder.fd, self._temporary)
        self._ledger.refuse(self._node.path, reason)


def failure(error: OSError, what: str) -> TargetError:
    """Return what ``error`` means: the end of the whole restore, or of one entry."""
    if error.errno in _FATAL:
        return TargetError(f"target cannot be written any more: {error.strerror}")
    return EntryNotRestored(f"{what}: {error.strerror}")


def put_in_place(folder: int, temporary: bytes, name: bytes, *, replaces: bool) -> None:
    """Rename ``temporary`` in an open directory; only if it ``replaces`` may something be there.

    Raises:
        EntryNotRestored: If something stands there that was not there before.
        OSError: If the system refuses.
    """
    if not replaces:
        rename = _exclusive_rename()
        error = rename(folder, temporary, name) if rename else errno.ENOSYS
        if not error:
            return
        if error == errno.EEXIST or (error in _NO_EXCLUSIVE_RENAME and _exists(folder, name)):
            raise EntryNotRestored(
                "an entry of the same name, or one that this file system takes for the same, "
                "appeared there during the restore"
            )
        if error not in _NO_EXCLUSIVE_RENAME:
            raise OSError(error, os.strerror(error))
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError as error:
        raise EntryNotRestored("a directory stands in its place") from error


def remove_part(folder: int, temporary: bytes) -> None:
    """Remove a temporary file if possible; if not, its name says what it is."""
    try:
        os.unlink(temporary, dir_fd=folder)
    except OSError:
        return


def sweep(folder: Folder) -> None:
    """Remove the temporary files that dead processes of this machine left in ``folder``."""
    with os.scandir(folder.fd) as entries:
        names = [os.fsencode(entry.name) for entry in entries if entry.name.startswith(".backapp-")]
    for name in names:
        match = _PART.fullmatch(name)
        if match and match[1] == _place() and not _is_alive(int(match[2])):
            _remove_left(folder, name)


def _remove_left(folder: Folder, name: bytes) -> None:
    try:
        found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        remove_part(folder.fd, name)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _exists(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@cache
def _place() -> bytes:
    """Return eight hex digits for the machine or container whose process numbers are meant."""
    import platform  # noqa: PLC0415  # a restore alone needs it

    try:
        numbers = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  # a link of the kernel, no path to work with
    except OSError:
        numbers = 0
    return b"%08x" % zlib.crc32(f"{platform.node()}/{numbers}".encode())


@cache
def _exclusive_rename() -> Callable[[int, bytes, bytes], int] | None:
    """Return a rename within a directory that never replaces and answers an error number.

    Python does not offer it. It costs no more than the other one and saves a look at the name.
    None if the system has none.
    """
    import ctypes  # noqa: PLC0415  # a restore alone needs it

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    # Numbers and bytes go over as they are; to say their types costs another microsecond a file.
    get_errno = ctypes.get_errno

    def rename(fd: int, old: bytes, new: bytes) -> int:
        return get_errno() if call(fd, old, fd, new, _RENAME_NOREPLACE) else 0

    return rename
