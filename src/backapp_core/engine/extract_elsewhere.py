"""Makes small files of a restore in another process, which gets open directories and no paths.

Only directories that the restore itself has made go there: nothing stands in them yet, and nobody
else reaches into them. What goes wrong there is done again by the process that restores, which
also finds the words for it; so a file is reported once.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import final

from typing_extensions import override

from backapp_core.engine.extract_folders import Folder
from backapp_core.engine.extract_ledger import Ledger
from backapp_core.engine.extract_metadata import ALL_GIVEN, Rights, give
from backapp_core.engine.extract_parts import (
    CREATE,
    OURS_ALONE,
    PERMISSIONS,
    Parts,
    failure,
    put_in_place,
    remove_part,
    sweep,
)
from backapp_core.errors import EntryNotRestored
from backapp_core.model.entries import Node
from backapp_core.ports.targets import Errand, FileMaker, Lack, NewFile


@final
class FolderMaker(FileMaker):
    """Makes files in new directories, as `extract_parts` does it here."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._parts: Parts | None = None

    @override
    def begin(self) -> None:
        os.umask(0)  # files have their mode from the start, and need no call for it
        self._parts = Parts(os.urandom(4))

    @override
    def make(self, folder: int, file: NewFile, content: bytes) -> Lack | None:
        parts = self._parts
        if parts is None:
            raise ValueError("`begin` comes first")
        temporary = parts.new_name()
        mode = OURS_ALONE if file.xattrs else file.mode & PERMISSIONS
        try:
            fd = os.open(temporary, CREATE, mode, dir_fd=folder)
        except OSError as error:
            raise failure(error, "it cannot be made") from error
        try:
            _write(fd, content)
            found = os.fstat(fd)
            if found.st_size != file.size_bytes:
                os.ftruncate(fd, file.size_bytes)
            given = give(fd, file, found, self._rights)
            whole, fd = fd, -1
            os.close(whole)
            put_in_place(folder, temporary, file.name, replaces=False)
        except (OSError, EntryNotRestored) as error:
            if fd >= 0:
                os.close(fd)
            remove_part(folder, temporary)
            if isinstance(error, EntryNotRestored):
                raise
            raise failure(error, "it cannot be made") from error
        return None if given is ALL_GIVEN else Lack(given.fault, given.is_withheld)


@final
class FolderErrand(Errand):
    """Files of one new directory, while another process makes them."""

    def __init__(
        self,
        folder: Folder,
        nodes: Sequence[Node],
        files: Sequence[NewFile],
        ledger: Ledger,
        unfinished: set["FolderErrand"],
    ) -> None:
        """Take the files of an open directory, and stand in ``unfinished`` until the end."""
        self.files = files
        self._folder = folder
        self._nodes = nodes
        self._ledger = ledger
        self._unfinished = unfinished
        unfinished.add(self)

    @property
    @override
    def folder(self) -> int:
        return self._folder.fd

    @override
    def settle(self, unmade: Collection[int], lacks: Mapping[int, Lack]) -> None:
        self._unfinished.discard(self)
        ledger = self._ledger
        for number, node in enumerate(self._nodes):
            if number in unmade:
                continue
            lack = lacks.get(number)
            if lack is not None:
                ledger.note(node.path, lack.fault, is_withheld=lack.is_withheld)
            ledger.wrote(node.size_bytes)
            ledger.file_done(node, node.size_bytes)

    @override
    def reclaim(self) -> None:
        self._unfinished.discard(self)
        try:
            sweep(self._folder)
            with os.scandir(self._folder.fd) as entries:
                there = {os.fsencode(entry.name) for entry in entries}
        except OSError as error:
            raise failure(error, "its directory cannot be looked at") from error
        # A name that is written otherwise, on a file system that takes it for the same, is that of
        # another entry.
        for file in self.files:
            if file.name in there:
                remove_part(self._folder.fd, file.name)

    def abandon(self) -> None:
        """Remove what a process that has ended left unfinished."""
        self._unfinished.discard(self)
        try:
            sweep(self._folder)
        except OSError:
            return  # names of what is left say what it is


def as_new_file(node: Node, parent: bytes) -> NewFile:
    """Return a node as a maker takes it.

    Raises:
        EntryNotRestored: If its name is none, or it is not in the directory ``parent``.
    """
    above, slash, name = node.path.rpartition(b"/")
    if not slash or above != parent or name in {b"", b".", b".."} or b"\0" in name:
        raise EntryNotRestored("its path could lead elsewhere")
    return NewFile(name, node.mode, node.uid, node.gid, node.size_bytes, node.mtime_ns, node.xattrs)


def _write(fd: int, content: bytes) -> None:
    if not content:
        return
    written = os.write(fd, content)
    while written < len(content):
        written += os.write(fd, memoryview(content)[written:])
