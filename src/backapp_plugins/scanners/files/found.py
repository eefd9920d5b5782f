"""One directory as it is handed over: looks its names up in the very directory that was listed."""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import (
    Entry,
    EntryKind,
    FoundDirectory,
    OpenedFile,
    WholeFile,
)
from backapp_plugins.scanners.files.content import OpenedContent
from backapp_plugins.scanners.files.faults import replaced, source_error
from backapp_plugins.scanners.files.folders import Folder, Folders, Identity
from backapp_plugins.scanners.files.listing import entry_of
from backapp_plugins.scanners.files.metadata import attributes_at, opened_attributes

_FORMAT = 0o170000
_NO_FILE = frozenset({errno.ENXIO, errno.ENODEV, errno.EISDIR})
"""What opening a socket, a device without a driver or a directory says."""


@final
class FilesDirectory(FoundDirectory):
    """A directory on disk."""

    def __init__(
        self,
        folder: Folder,
        folders: Folders,
        *,
        entry: Entry,
        entries: Sequence[Entry],
        has_content: bool,
    ) -> None:
        self.path = folder.path
        self.entry = entry
        self.entries = entries
        self._folder = folder
        self._folders = folders
        self._has_content = has_content
        self._is_closed = False

    @override
    def __reduce__(self) -> tuple[Callable[..., FoundDirectory], tuple[object, ...]]:
        """Pickle what another process needs to find the same directory and read files in it."""
        identity = self._folder.identity
        found_again = partial(_found_again, has_content=self._has_content)
        return found_again, (self.path, identity, self.entry)

    @override
    def open(self, entry: Entry) -> OpenedFile:
        if entry.kind is not EntryKind.FILE:
            raise replaced()
        above = self._use()
        try:
            descriptor = _open_to_read(entry, above)
        except OSError as error:
            raise (replaced() if error.errno in _NO_FILE else source_error(error)) from error
        finally:
            self._folders.done(self._folder)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise replaced()
        opened = entry_of(entry.name, status)
        if not self._has_content:
            opened = opened._replace(size_bytes=0, allocated_bytes=0)
        return OpenedContent(descriptor, opened, actual_bytes=status.st_size)

    @override
    def read_whole(self, entry: Entry, most_bytes: int) -> WholeFile | None:
        if entry.size_bytes > most_bytes or not self._has_content:
            return super().read_whole(entry, most_bytes)
        if entry.mode & _FORMAT != stat.S_IFREG:
            raise replaced()
        above = self._use()
        try:
            descriptor = _open_to_read(entry, above)
        except OSError as error:
            raise (replaced() if error.errno in _NO_FILE else source_error(error)) from error
        finally:
            self._folders.done(self._folder)
        try:
            return self._read_opened(descriptor, entry, most_bytes)
        finally:
            os.close(descriptor)

    @override
    def attributes(self, entry: Entry | None) -> tuple[tuple[bytes, bytes], ...]:
        above = self._use()
        try:
            return attributes_at(above, entry.name if entry else None)
        except OSError as error:
            raise source_error(error) from error
        finally:
            self._folders.done(self._folder)

    @override
    def link_target(self, entry: Entry) -> bytes:
        above = self._use()
        try:
            return os.readlink(entry.name, dir_fd=above)
        except OSError as error:
            raise (replaced() if error.errno == errno.EINVAL else source_error(error)) from error
        finally:
            self._folders.done(self._folder)

    @override
    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._folders.release(self._folder)

    def _use(self) -> int:
        if self._is_closed:
            raise ValueError("this directory was closed")
        try:
            return self._folders.use(self._folder)
        except OSError as error:
            raise source_error(error) from error

    def _read_opened(self, descriptor: int, entry: Entry, most_bytes: int) -> WholeFile | None:
        before = os.fstat(descriptor)
        if before.st_mode & _FORMAT != stat.S_IFREG:
            raise replaced()
        size_bytes = before.st_size
        if size_bytes > most_bytes:
            return None
        try:
            content = os.read(descriptor, size_bytes) if size_bytes else b""
            if len(content) < size_bytes:  # cut meanwhile, or answered in part
                content = _read_on(descriptor, content, size_bytes)
            after = os.fstat(descriptor)
        except OSError as error:
            raise source_error(error) from error
        has_changed = (
            after.st_ctime_ns != before.st_ctime_ns
            or after.st_mtime_ns != before.st_mtime_ns
            or after.st_size != size_bytes
            or len(content) != size_bytes
        )
        opened = entry_of(entry.name, before)
        return WholeFile(opened, content, opened_attributes(descriptor), has_changed)


@cache
def _folders() -> Folders:
    """Return the directories that were found by others and are read here."""
    return Folders()


def _found_again(
    path: bytes, identity: Identity, entry: Entry, *, has_content: bool
) -> FilesDirectory:
    """Return a directory that another process found; it is opened when it is needed."""
    folder = Folder.met_elsewhere(path, identity)
    return FilesDirectory(folder, _folders(), entry=entry, entries=(), has_content=has_content)


def _read_on(descriptor: int, content: bytes, size_bytes: int) -> bytes:
    """Complete what the system answered in part; only the end of the file ends it."""
    pieces = [content]
    done = len(content)
    while done < size_bytes and (more := os.read(descriptor, size_bytes - done)):
        pieces.append(more)
        done += len(more)
    return b"".join(pieces)


def _open_to_read(entry: Entry, above: int) -> int:
    """Open without following links or blocking and, where allowed, without a new access time.

    Raises:
        OSError: If it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    no_atime = getattr(os, "O_NOATIME", 0)
    if no_atime and os.geteuid() in {0, entry.uid}:
        # Root of a user namespace may not; if that was not the reason, it shows again below.
        with suppress(PermissionError):
            return os.open(entry.name, flags | no_atime, dir_fd=above)
    return os.open(entry.name, flags, dir_fd=above)
