"""Open directories: few at a time, found again when they are needed, never by a swapped path.

A walk needs the directories on its way, readers need those that they still hold, and both may be
thousands. Only the most recently used keep a descriptor; any other is reached again from its
nearest open ancestor and must then be the very directory (device and inode) that was met first.
"""

import os
import threading
from collections import OrderedDict
from typing import TypeAlias

from backapp_plugins.scanners.files.faults import replaced

OPEN_LIMIT = 64
_CHUNK_BYTES = 3500
"""Paths are opened in pieces well below the 4,096 bytes that the system takes at once."""


Identity: TypeAlias = tuple[int, int]
"""Device and inode."""


class Folder:
    """One directory that the walk has met."""

    __slots__ = ("descriptor", "holds", "identity", "is_listable", "parent", "path", "uses")

    def __init__(
        self,
        parent: "Folder | None",
        path: bytes,
        identity: Identity,
        *,
        descriptor: int,
        is_listable: bool,
    ) -> None:
        self.parent = parent
        self.path = path
        self.identity = identity
        self.descriptor = descriptor
        """-1 while it is not open."""
        self.is_listable = is_listable
        self.holds = 2
        """Who may still come back to it: the walk and the one it was handed to."""
        self.uses = 1
        """Calls that are using the descriptor now; the first is the one that enters."""

    @property
    def device(self) -> int:
        """Which device it is on."""
        return self.identity[0]

    @classmethod
    def met_elsewhere(cls, path: bytes, identity: Identity) -> "Folder":
        """Return a directory that another process has met, and that is not open here."""
        folder = cls(None, path, identity, descriptor=-1, is_listable=False)
        folder.holds, folder.uses = 1, 0
        return folder


class Folders:
    """The directories of one scan; every method may be called from any thread."""

    def __init__(self, *, limit: int = OPEN_LIMIT) -> None:
        self._limit = limit
        self._open: OrderedDict[Folder, None] = OrderedDict()
        self._lock = threading.Lock()
        self._is_closed = False
        no_atime = getattr(os, "O_NOATIME", 0)
        self._extras = (no_atime, 0) if no_atime and os.geteuid() == 0 else (0,)
        self._look_only = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

    def enter_top(self, *, lists: bool) -> tuple[Folder, os.stat_result]:
        """Open ``/``, to be listed or not; it is in use until `done` is called.

        Raises:
            OSError: If it cannot be opened.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC if lists else self._look_only
        descriptor = os.open(b"/", flags)
        status = os.fstat(descriptor)
        folder = Folder(None, b"/", _identity(status), descriptor=descriptor, is_listable=lists)
        return self._keep(folder), status

    def enter(
        self, parent: Folder, name: bytes, path: bytes, *, follows: bool, lists: bool
    ) -> tuple[Folder, os.stat_result]:
        """Open a directory in ``parent``; it is in use until `done` is called.

        Args:
            parent: Where it is.
            name: What it is called there.
            path: Its whole path.
            follows: Whether it may be a symlink to one.
            lists: Whether it will be listed; one that may not be is opened nevertheless.

        Raises:
            OSError: If it cannot be opened or is no directory.
            EntryReplaced: If ``parent`` had to be found again and was not.
        """
        link_flag = 0 if follows else os.O_NOFOLLOW
        above = self.use(parent)
        try:
            descriptor = self._open_to_list(name, above, link_flag) if lists else -1
            lists = descriptor >= 0
            if not lists:
                descriptor = os.open(name, self._look_only | link_flag, dir_fd=above)
            status = os.fstat(descriptor)
            identity = _identity(status)
            folder = Folder(parent, path, identity, descriptor=descriptor, is_listable=lists)
        except BaseException:
            self.done(parent)
            raise
        with self._lock:
            parent.uses -= 1
            self._close_idle(parent)
            self._remember(folder)
        return folder, status

    def use(self, folder: Folder) -> int:
        """Return a descriptor of ``folder`` that stays open until `done` is called for it.

        Raises:
            OSError: If it had to be found again and cannot be reached.
            EntryReplaced: If another directory is in its place.
            ValueError: If the scan has ended.
        """
        with self._lock:
            if self._is_closed:
                raise ValueError("the scan that this directory belongs to has ended")
            if folder.descriptor < 0:
                self._reopen(folder)
            else:
                self._open.move_to_end(folder)
            folder.uses += 1
            return folder.descriptor

    def done(self, folder: Folder) -> None:
        """Say that a descriptor got from `use` is not used any more."""
        with self._lock:
            folder.uses -= 1
            self._close_idle(folder)

    def release(self, folder: Folder) -> None:
        """Say that one of those who hold ``folder`` will not come back to it."""
        with self._lock:
            folder.holds -= 1
            self._close_idle(folder)

    def close(self) -> None:
        """Close all directories; none can be used again."""
        with self._lock:
            self._is_closed = True
            for folder in list(self._open):
                self._close_idle(folder)

    def __del__(self) -> None:
        # Whoever forgets to close what was handed over must not use descriptors up.
        for folder in self._open:
            os.close(folder.descriptor)

    def _open_to_list(self, name: bytes, above: int, link_flag: int) -> int:
        """Return a descriptor, -1 if the directory may not be listed."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC | link_flag
        # Root of a user namespace may list what it may not list without moving the access time.
        for extra in self._extras:
            try:
                return os.open(name, flags | extra, dir_fd=above)
            except PermissionError:
                continue
        return -1

    def _keep(self, folder: Folder) -> Folder:
        with self._lock:
            self._remember(folder)
        return folder

    def _remember(self, folder: Folder) -> None:
        self._open[folder] = None
        if len(self._open) > self._limit:
            for other in self._open:
                if not other.uses and other is not folder:
                    self._close(other)
                    break

    def _close_idle(self, folder: Folder) -> None:
        if not folder.uses and (self._is_closed or not folder.holds) and folder.descriptor >= 0:
            self._close(folder)

    def _close(self, folder: Folder) -> None:
        del self._open[folder]
        os.close(folder.descriptor)
        folder.descriptor = -1

    def _reopen(self, folder: Folder) -> None:
        start = folder.parent
        while start is not None and start.descriptor < 0:
            start = start.parent
        above = start.descriptor if start else None
        rest = folder.path[len(start.path) :] if start else folder.path
        descriptor = self._descend(above, [part for part in rest.split(b"/") if part], folder)
        if _identity(os.fstat(descriptor)) != folder.identity:
            os.close(descriptor)
            raise replaced()
        folder.descriptor = descriptor
        self._remember(folder)

    def _descend(self, above: int | None, parts: list[bytes], folder: Folder) -> int:
        """Open the path that ``parts`` make, piece by piece; the caller checks where it ended."""
        here = os.open(b"/" if above is None else b".", self._look_only, dir_fd=above)
        while parts:
            length, used = 0, 0
            while used < len(parts) and length + len(parts[used]) < _CHUNK_BYTES:
                length += len(parts[used]) + 1
                used += 1
            piece, parts = b"/".join(parts[:used]), parts[used:]
            try:
                there = os.open(piece, self._look_only, dir_fd=here)
            finally:
                os.close(here)
            here = there
        if not folder.is_listable:
            return here
        try:
            return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        finally:
            os.close(here)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
