"""The safe extractor: a `Target` on a real file system, the one way in which anything is restored.

Everything happens relative to descriptors of directories that are opened without following links (`extract_folders`);
files get their content under a temporary name (`extract_parts`) and metadata before the final one
(`extract_metadata`); links and special files come last (`extract_special`); directories stay at mode 0700 until the end.

What is there already: an existing real directory is used and given the node's metadata at the end (under
`Overwrite.NEVER` it keeps its own); the target's root never is. A file that is kept because it is unchanged
is given owner, permissions and attributes of the snapshot if they differ; one that is kept for another reason is not touched. Something that is no
directory in the place of a directory is replaced where the policy overwrites; a directory in the place of
something else only if it is empty.
"""

import os
import stat

from attrs import frozen
from typing_extensions import override

from backapp_core.engine.extract_folders import (
    Folder,
    FolderWalk,
    InTheWay,
    open_root,
    remove_attribute,
    split_name,
)
from backapp_core.engine.extract_ledger import Ledger
from backapp_core.engine.extract_metadata import Rights, give, lacks_access_list
from backapp_core.engine.extract_parts import (
    Parts,
    PartFile,
    failure,
    put_in_place,
    remove_part,
    sweep,
)
from backapp_core.engine.extract_policy import decide, is_same
from backapp_core.engine.extract_renew import renew
from backapp_core.engine.extract_special import make_special
from backapp_core.engine.extract_spool import DirectoryRecord, DirectorySpool
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.events import Level, LogLine
from backapp_core.model.entries import EntryKind, Node, format_of_kind
from backapp_core.model.restores import Action, Overwrite, RestoreOutcome
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.targets import Target, TargetFile


@frozen
class ExtractOptions:
    """How a restore writes."""

    overwrite: Overwrite = Overwrite.IF_CHANGED
    owners: bool | None = None
    """Whether owners and groups are restored, by their numbers; None means if this is run by root."""
    special: bool | None = None
    """Whether set-id bits, devices and privileged attributes are restored; None means if this is run by root.
    A restore that a server ordered says False unless its own flag says otherwise."""
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
        """Open the directory ``root``; what is missing of it is made with mode 0700.

        Raises:
            TargetError: If it cannot be opened, made or written.
        """
        self._overwrite = options.overwrite
        self._rights = options.rights()
        self._events = surroundings.events
        self.ledger = Ledger(self._events, reports_files=options.reports_files)
        self._parts = Parts(surroundings.random_bytes(4))
        self._root = open_root(root, make=True)
        self._walk = FolderWalk(self._root, makes=True)
        self._sources = FolderWalk(self._root, makes=False)
        self._here: Folder = self._root
        self._here_path = b""
        self._spool = DirectorySpool()
        self._kept_different: set[bytes] = set()
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
            folder = self._enter_or_replace(self._enter(parent), name, node)
            self._here, self._here_path = folder, node.path
            if not folder.is_new:
                sweep(folder)
                self._open_up(folder)
            self._remember(node, folder)
        except (OSError, EntryNotRestored) as error:
            self._refuse(node, error)
            return
        self.ledger.directory_done()

    @override
    def file(self, node: Node) -> TargetFile | None:
        # 100,000 small files are 100,000 times this function, `PartFile` and nothing else: no helper on the usual way.
        parent, slash, name = node.path.rpartition(b"/")
        try:
            if not slash or name in {b"", b".", b".."} or b"\0" in name:
                raise EntryNotRestored("its path could lead elsewhere")  # noqa: TRY301  # as from the calls
            folder = self._here if parent == self._here_path else self._enter(parent)
            replaces = None if folder.is_new else self._replaces(folder, name, node)
            if replaces is Action.KEEP:
                self.ledger.file_kept(node)
                return None
            self.ledger.current = node.path
            return PartFile(
                node,
                folder,
                name,
                replaces=replaces is Action.OVERWRITE,
                parts=self._parts,
                rights=self._rights,
                ledger=self.ledger,
            )
        except (OSError, EntryNotRestored) as error:
            self._refuse(node, error)
            return None

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
            self.ledger.file_kept(node)
        elif node.kind is EntryKind.FILE:
            self.ledger.file_done(node, 0)
        else:
            self.ledger.other_done()

    @override
    def special(self, node: Node) -> None:
        try:
            if self._special(node):
                self.ledger.other_done()
            else:
                self.ledger.file_kept(node)
        except (OSError, EntryNotRestored) as error:
            self._refuse(node, error)

    @override
    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._parts.abandon_all("the restore ended before it was complete")
        try:
            if self._links_followed and not self._has_failed:
                self._settle_directories()
        except OSError as error:
            raise failure(error, "directories cannot be given their metadata") from error
        finally:
            self._spool.close()
            self._walk = self._sources = FolderWalk(self._root, makes=False)
            self._here = self._root
        if self.ledger.withheld:
            text = f"{self.ledger.withheld} entries were restored without set-id bits or privileged attributes"
            self._events(LogLine(Level.WARNING, text))

    def _enter(self, parent: bytes) -> Folder:
        folder = self._walk.enter(parent)
        self._here, self._here_path = folder, parent
        return folder

    def _enter_or_replace(self, above: Folder, name: bytes, node: Node) -> Folder:
        try:
            return self._walk.step(above, name, make=True)
        except InTheWay:
            found = os.stat(name, dir_fd=above.fd, follow_symlinks=False)
            is_ours = above.is_new or found.st_ino in above.made
            if is_ours or decide(node, found, self._overwrite) is not Action.OVERWRITE:
                raise
        os.unlink(name, dir_fd=above.fd)
        return self._walk.step(above, name, make=True)

    def _open_up(self, folder: Folder) -> None:
        """Let ourselves write into an existing directory of our own until it gets its metadata."""
        if self._overwrite is Overwrite.NEVER or os.geteuid() == 0:
            return
        found = os.fstat(folder.fd)
        if found.st_uid == os.geteuid() and found.st_mode & 0o700 != 0o700:
            os.fchmod(folder.fd, stat.S_IMODE(found.st_mode) | 0o700)

    def _remember(self, node: Node, folder: Folder) -> None:
        if not folder.is_new and self._overwrite is Overwrite.NEVER:
            return
        try:
            self._spool.push(node, is_new=folder.is_new)
        except OSError as error:
            self._has_failed = True
            raise TargetError(f"directories cannot be remembered: {error.strerror}") from error

    def _replaces(self, folder: Folder, name: bytes, node: Node) -> Action:
        """Say what happens to ``node``, which is no directory, and make way for it if that is needed."""
        try:
            found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return Action.CREATE
        if found.st_ino in folder.made:
            raise EntryNotRestored(
                "another entry of the snapshot has the same name on this file system"
            )
        action = decide(node, found, self._overwrite)
        if action is Action.KEEP:
            return self._keep(folder, name, node, found)
        if stat.S_ISDIR(found.st_mode):
            _remove_empty(folder, name)
            return Action.CREATE
        return action

    def _keep(self, folder: Folder, name: bytes, node: Node, found: os.stat_result) -> Action:
        if self._overwrite is Overwrite.IF_CHANGED:
            given = renew(folder, name, node, found, self._rights)
            if given is None:
                return Action.OVERWRITE
            if given.fault:
                self.ledger.lack(node.path, given.fault)
            if given.is_withheld:
                self.ledger.withhold()
        elif node.is_hard_linked and not is_same(node, found):
            self._kept_different.add(node.path)
        return Action.KEEP

    def _link(self, node: Node, existing: bytes) -> bool:
        parent, name = split_name(node.path)
        source_parent, source_name = split_name(existing)
        if existing in self._kept_different:
            raise EntryNotRestored(
                "the file that it is another name of was kept and differs from the snapshot"
            )
        try:
            source = self._sources.enter(source_parent)
            file = os.stat(source_name, dir_fd=source.fd, follow_symlinks=False)
        except FileNotFoundError as error:
            raise EntryNotRestored(
                "the file that it is another name of was not restored"
            ) from error
        if stat.S_IFMT(file.st_mode) != format_of_kind(node.kind):
            raise EntryNotRestored("what it should be another name of is of another type")
        folder = self._here if parent == self._here_path else self._enter(parent)
        action = Action.CREATE if folder.is_new else self._replaces_with(folder, name, node, file)
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
        self._name_or_remove(folder, temporary, name, replaces=action is Action.OVERWRITE)
        return True

    def _replaces_with(
        self, folder: Folder, name: bytes, node: Node, file: os.stat_result
    ) -> Action:
        try:
            found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return Action.CREATE
        if os.path.samestat(found, file):
            return Action.KEEP
        if stat.S_ISDIR(found.st_mode):
            return self._replaces(folder, name, node)
        # The same content in a file of its own is still not the link that the snapshot has.
        if self._overwrite is Overwrite.IF_CHANGED:
            return Action.OVERWRITE
        return decide(node, found, self._overwrite)

    def _special(self, node: Node) -> bool:
        parent, name = split_name(node.path)
        folder = self._here if parent == self._here_path else self._enter(parent)
        action = Action.CREATE if folder.is_new else self._replaces(folder, name, node)
        if action is Action.KEEP:
            return False
        temporary = self._parts.new_name()
        try:
            given = make_special(folder, temporary, node, self._rights)
        except (OSError, EntryNotRestored):
            remove_part(folder, temporary)
            raise
        self._name_or_remove(folder, temporary, name, replaces=action is Action.OVERWRITE)
        if given.fault:
            self.ledger.lack(node.path, given.fault)
        if given.is_withheld:
            self.ledger.withhold()
        return True

    def _name_or_remove(
        self, folder: Folder, temporary: bytes, name: bytes, *, replaces: bool
    ) -> None:
        try:
            put_in_place(folder, temporary, name, replaces=replaces)
        except (OSError, EntryNotRestored):
            remove_part(folder, temporary)
            raise

    def _settle_directories(self) -> None:
        walk = FolderWalk(self._root, makes=False)
        for record in self._spool.pop_all():
            try:
                folder = walk.enter(record.path)
            except (OSError, EntryNotRestored):
                self.ledger.lack(
                    record.path, "it was removed or replaced before it got its metadata"
                )
                continue
            self._settle(folder, record)

    def _settle(self, folder: Folder, record: DirectoryRecord) -> None:
        if not record.is_new and lacks_access_list(record):
            remove_attribute(folder.fd, "system.posix_acl_access")
        given = give(folder.fd, record, os.fstat(folder.fd), self._rights)
        if given.fault:
            self.ledger.lack(record.path, given.fault)
        if given.is_withheld:
            self.ledger.withhold()

    def _refuse(self, node: Node, error: OSError | EntryNotRestored) -> None:
        """Report an entry that is not restored, or raise if nothing more can be."""
        reason = (
            error
            if isinstance(error, EntryNotRestored)
            else failure(error, "it cannot be restored")
        )
        if not isinstance(reason, EntryNotRestored):
            self._has_failed = True
            raise reason from error
        self.ledger.refuse(node.path, reason.message)


def _remove_empty(folder: Folder, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=folder.fd)
    except OSError as error:
        reason = "that is not empty" if os.strerror(error.errno or 0) else ""
        raise EntryNotRestored(f"a directory {reason} stands in its place") from error
