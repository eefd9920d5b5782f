"""The safe extractor: a `Target` on a real file system, the one way in which anything is restored.

Everything happens relative to descriptors of directories that are opened without following links
(`extract_folders`). Files get their content under a temporary name (`extract_parts`) and their
metadata before the final one (`extract_metadata`); links and special files come last
(`extract_special`). What was there before is dealt with in `extract_existing`.

Directories have mode 0700 until the end; then they get their metadata, the deepest first. One that
was there before gets that of the snapshot too, except under `Overwrite.NEVER`; the root of the
target never does. What a node needs above it and no node describes is made with mode 0700.
"""

import os
import stat
from collections.abc import Sequence

from attrs import frozen
from typing_extensions import override

from backapp_core.engine.extract_elsewhere import FolderErrand, FolderMaker, as_new_file
from backapp_core.engine.extract_existing import Existing, look
from backapp_core.engine.extract_folders import (
    Folder,
    FolderWalk,
    InTheWay,
    RecentFolders,
    open_root,
    split_name,
    unlock,
)
from backapp_core.engine.extract_ledger import Ledger
from backapp_core.engine.extract_metadata import Rights, give, remove_foreign
from backapp_core.engine.extract_parts import (
    PartFile,
    Parts,
    failure,
    put_in_place,
    remove_part,
    sweep,
)
from backapp_core.engine.extract_special import make_special
from backapp_core.engine.extract_spool import DirectoryRecord, DirectorySpool
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.events import Level, LogLine
from backapp_core.model.entries import EntryKind, Node, format_of_kind
from backapp_core.model.restores import Action, Overwrite, RestoreOutcome
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.targets import Errand, FileMaker, Target, TargetFile

_ALL_OURS = 0o700


@frozen
class ExtractOptions:
    """How a restore writes."""

    overwrite: Overwrite = Overwrite.IF_CHANGED
    owners: bool | None = None
    """Whether owners and groups are restored, by their numbers. None: if run by root."""
    special: bool | None = None
    """Whether set-id bits, devices, ``security.*`` and ``trusted.*`` attributes are restored.

    None: if run by root. A restore that a server ordered says False unless a flag of its own says
    otherwise.
    """
    reports_files: bool = False
    """Whether there is one event per file."""

    def rights(self) -> Rights:
        """Return what this process gives to what it restores."""
        is_root = os.geteuid() == 0
        return Rights(
            owners=is_root if self.owners is None else self.owners,
            special=is_root if self.special is None else self.special,
        )


class FolderTarget(Target):
    """Restores below one directory of this machine.

    Attributes:
        ledger: Figures that may be read at any time, for progress.
    """

    def __init__(self, root: bytes, options: ExtractOptions, surroundings: Surroundings) -> None:
        """Open the directory ``root``, which may be reached through links.

        What is missing of it is made with mode 0700.

        Raises:
            TargetError: If it cannot be opened, made or written.
        """
        self._rights = options.rights()
        self._events = surroundings.events
        self.ledger = Ledger(self._events, reports_files=options.reports_files)
        self._existing = Existing(options.overwrite, self._rights, self.ledger)
        self._parts = Parts(surroundings.random_bytes(4))
        self._root = open_root(root, make=True)
        self._walk = FolderWalk(self._root, makes=True)
        self._recent = RecentFolders()
        self._sources = FolderWalk(self._root, makes=False)
        self._here: Folder = self._root
        self._here_path = b""
        self._spool = DirectorySpool()
        self._errands: set[FolderErrand] = set()
        self._links_followed = False
        self._has_failed = False
        self._is_closed = False
        sweep(self._root)
        if options.owners is None and not self._rights.owners:
            self._events(LogLine(Level.WARNING, "owners are not restored: that needs root"))

    @property
    def outcome(self) -> RestoreOutcome:
        """What was done so far."""
        return self.ledger.outcome()

    @override
    def directory(self, node: Node) -> None:
        if node.path == b"/":
            return
        try:
            parent, name = split_name(node.path)
            folder = self._make(self._walk.enter(parent), name, node)
            self._here, self._here_path = folder, node.path
            self._recent.keep(node.path, folder)
            if not folder.is_new:
                sweep(folder)
                self._open_up(folder)
            if folder.is_new or self._existing.overwrite is not Overwrite.NEVER:
                self._spool.push(node, is_new=folder.is_new)
        except (OSError, EntryNotRestored) as error:
            self._refuse(node, error)
            return
        except TargetError:
            self._has_failed = True
            raise
        self.ledger.directory_done()

    @override
    def file(self, node: Node) -> TargetFile | None:
        # A tree of small files is this method and `PartFile` and little else: no detours here.
        parent, slash, name = node.path.rpartition(b"/")
        try:
            if not slash or name in {b"", b".", b".."} or b"\0" in name:
                split_name(node.path)
            folder = self._here if parent == self._here_path else self._enter(parent)
            replaces = False
            if not folder.is_new:
                action = self._existing.before_entry(folder, name, node)
                if action is Action.KEEP:
                    self.ledger.entry_kept(node)
                    return None
                replaces = action is Action.OVERWRITE
            self.ledger.current = node.path
            return PartFile(
                node,
                folder,
                name,
                replaces=replaces,
                parts=self._parts,
                rights=self._rights,
                ledger=self.ledger,
            )
        except (OSError, EntryNotRestored) as error:
            self._refuse(node, error)
            return None

    @override
    def file_maker(self) -> FileMaker:
        return FolderMaker(self._rights)

    @override
    def hand_over(self, nodes: Sequence[Node]) -> Errand | None:
        parent = nodes[0].path.rpartition(b"/")[0]
        try:
            files = [as_new_file(node, parent) for node in nodes]
            folder = self._here if parent == self._here_path else self._enter(parent)
        except (OSError, EntryNotRestored):
            return None  # `file` says what is wrong
        if not folder.is_new:
            return None
        self.ledger.current = nodes[-1].path
        return FolderErrand(folder, nodes, files, self.ledger, self._errands)

    @override
    def links_follow(self) -> None:
        self._links_followed = True

    @override
    def link(self, node: Node, existing: bytes) -> None:
        try:
            is_made = self._link(node, existing)
        except (OSError, EntryNotRestored) as error:
            self._refuse(node, error)
            return
        if not is_made:
            self.ledger.entry_kept(node)
        elif node.kind is EntryKind.FILE:
            self.ledger.file_done(node, 0)
        else:
            self.ledger.other_done()

    @override
    def special(self, node: Node) -> None:
        try:
            is_made = self._special(node)
        except (OSError, EntryNotRestored) as error:
            self._refuse(node, error)
            return
        if is_made:
            self.ledger.other_done()
        else:
            self.ledger.entry_kept(node)

    @override
    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._parts.abandon_all("the restore ended before it was complete")
        for errand in list(self._errands):
            errand.abandon()
        # Descriptors are closed when nobody holds them, and a target may outlive its restore.
        del self._walk, self._recent, self._sources, self._here
        try:
            if self._links_followed and not self._has_failed:
                self._settle_directories()
        except OSError as error:
            raise TargetError(f"directories cannot be completed: {error.strerror}") from error
        finally:
            self._spool.close()
            del self._root
        if self.ledger.withheld:
            entries = (
                "1 entry" if self.ledger.withheld == 1 else f"{self.ledger.withheld:,} entries"
            )
            text = f"{entries} came without set-id bits or privileged attributes"
            self._events(LogLine(Level.WARNING, text))

    def _enter(self, parent: bytes) -> Folder:
        folder = self._recent.get(parent)
        if folder is None:
            folder = self._walk.enter(parent)
            self._recent.keep(parent, folder)
        self._here, self._here_path = folder, parent
        return folder

    def _make(self, above: Folder, name: bytes, node: Node) -> Folder:
        try:
            return self._walk.step(above, name, make=True)
        except InTheWay:
            if not self._existing.clear_for_directory(above, name, node):
                raise
        except PermissionError:
            if self._existing.overwrite is Overwrite.NEVER or not unlock(above, name):
                raise
        return self._walk.step(above, name, make=True)

    def _open_up(self, folder: Folder) -> None:
        """Let ourselves write into an existing directory of our own until it gets its metadata."""
        if self._existing.overwrite is Overwrite.NEVER or os.geteuid() == 0:
            return
        found = os.fstat(folder.fd)
        if found.st_uid == os.geteuid() and found.st_mode & _ALL_OURS != _ALL_OURS:
            os.fchmod(folder.fd, stat.S_IMODE(found.st_mode) | _ALL_OURS)

    def _link(self, node: Node, existing: bytes) -> bool:
        parent, name = split_name(node.path)
        source_parent, source_name = split_name(existing)
        folder = self._here if parent == self._here_path else self._enter(parent)
        # Where the policy keeps what stands there, it does not matter what it should name too.
        if not folder.is_new and self._existing.keeps_link(folder, name, node):
            return False
        if self._existing.differs(existing):
            raise EntryNotRestored("the file that it names too was kept and is another one")
        source = self._sources.enter(source_parent)
        found = look(source, source_name)
        if found is None:
            raise EntryNotRestored("the file that it names too was not restored")
        if stat.S_IFMT(found.st_mode) != format_of_kind(node.kind):
            raise EntryNotRestored("what it should name too is of another type")
        action = Action.CREATE
        if not folder.is_new:
            action = self._existing.before_link(folder, name, node, found)
        if action is Action.KEEP:
            return False
        temporary = self._parts.new_name()
        os.link(
            source_name,
            temporary,
            src_dir_fd=source.fd,
            dst_dir_fd=folder.fd,
            follow_symlinks=False,
        )
        self._name(folder, temporary, name, action)
        return True

    def _special(self, node: Node) -> bool:
        parent, name = split_name(node.path)
        folder = self._here if parent == self._here_path else self._enter(parent)
        action = Action.CREATE
        if not folder.is_new:
            action = self._existing.before_entry(folder, name, node)
        if action is Action.KEEP:
            return False
        temporary = self._parts.new_name()
        try:
            given = make_special(folder, temporary, node, self._rights)
        except (OSError, EntryNotRestored):
            remove_part(folder.fd, temporary)
            raise
        self._name(folder, temporary, name, action)
        self.ledger.note(node.path, given.fault, is_withheld=given.is_withheld)
        return True

    def _name(self, folder: Folder, temporary: bytes, name: bytes, action: Action) -> None:
        try:
            put_in_place(folder.fd, temporary, name, replaces=action is Action.OVERWRITE)
        except (OSError, EntryNotRestored):
            remove_part(folder.fd, temporary)
            raise

    def _settle_directories(self) -> None:
        walk = FolderWalk(self._root, makes=False)
        for record in self._spool.pop_all():
            try:
                folder = walk.enter(record.path)
            except (OSError, EntryNotRestored):
                self.ledger.lack(record.path, "it was replaced before it got its metadata")
                continue
            self._settle(folder, record)

    def _settle(self, folder: Folder, record: DirectoryRecord) -> None:
        faults: list[str] = []
        if not record.is_new:
            remove_foreign(folder.fd, record, self._rights, faults)
        given = give(folder.fd, record, os.fstat(folder.fd), self._rights)
        faults.extend(filter(None, (given.fault,)))
        self.ledger.note(record.path, "; ".join(faults), is_withheld=given.is_withheld)

    def _refuse(self, node: Node, error: OSError | EntryNotRestored) -> None:
        """Report an entry that is not restored.

        Raises:
            TargetError: If nothing more can be.
        """
        if isinstance(error, OSError):
            reason = failure(error, "it cannot be restored")
            if not isinstance(reason, EntryNotRestored):
                self._has_failed = True
                raise reason from error
            error = reason
        self.ledger.refuse(node.path, error.message)
