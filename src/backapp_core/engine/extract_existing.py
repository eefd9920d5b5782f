"""Deals with what stands where a restore wants to put something, as its policy says.

A file that is kept because it is unchanged is given owner, permissions and attributes of the
snapshot if they differ; one that is kept for another reason is not touched. What is no directory
and stands in the place of one is replaced where the policy overwrites; a directory in the place of
something else only if it is empty.
"""

import errno
import os
import stat

from backapp_core.engine.extract_folders import Folder
from backapp_core.engine.extract_ledger import Ledger
from backapp_core.engine.extract_metadata import Rights
from backapp_core.engine.extract_policy import decide, is_same
from backapp_core.engine.extract_renew import renew
from backapp_core.errors import EntryNotRestored
from backapp_core.model.entries import Node
from backapp_core.model.restores import Action, Overwrite


class Existing:
    """Answers what is to be done in a directory that was there before, and makes way."""

    def __init__(self, overwrite: Overwrite, rights: Rights, ledger: Ledger) -> None:
        self.overwrite = overwrite
        self._rights = rights
        self._ledger = ledger
        self._kept_different: set[bytes] = set()

    def before_entry(self, folder: Folder, name: bytes, node: Node) -> Action:
        """Say whether ``node``, which is no directory, is created, overwrites, or is left.

        Raises:
            EntryNotRestored: If something stands there that is not removed.
            OSError: If it cannot be looked at.
        """
        found = look(folder, name)
        if found is None:
            return Action.CREATE
        if found.st_ino in folder.made:
            raise EntryNotRestored(
                "another entry of the snapshot has the same name on this file system"
            )
        action = decide(node, found, self.overwrite)
        if action is Action.KEEP:
            return self._keep(folder, name, node, found)
        if stat.S_ISDIR(found.st_mode):
            _remove_empty(folder, name)
            return Action.CREATE
        return action

    def keeps_link(self, folder: Folder, name: bytes, node: Node) -> bool:
        """Say whether what stands in the place of another name of a file stays, whatever it is.

        Raises:
            OSError: If it cannot be looked at.
        """
        if self.overwrite not in {Overwrite.NEVER, Overwrite.IF_NEWER}:
            return False
        found = look(folder, name)
        if found is None or found.st_ino in folder.made:
            return False
        return decide(node, found, self.overwrite) is Action.KEEP

    def before_link(
        self, folder: Folder, name: bytes, node: Node, source: os.stat_result
    ) -> Action:
        """Say the same of another name of the file whose facts are ``source``.

        Raises:
            EntryNotRestored: If something stands there that is not removed.
            OSError: If it cannot be looked at.
        """
        found = look(folder, name)
        if found is None:
            return Action.CREATE
        if os.path.samestat(found, source):
            return Action.KEEP
        # The same content in a file of its own is not yet the link that the snapshot has.
        if self.overwrite is Overwrite.IF_CHANGED and not stat.S_ISDIR(found.st_mode):
            return Action.OVERWRITE
        return self.before_entry(folder, name, node)

    def clear_for_directory(self, above: Folder, name: bytes, node: Node) -> bool:
        """Remove what is no directory from the place of one; False if it stays."""
        found = look(above, name)
        if found is None:
            return True
        is_ours = above.is_new or found.st_ino in above.made
        if is_ours or decide(node, found, self.overwrite) is not Action.OVERWRITE:
            return False
        os.unlink(name, dir_fd=above.fd)
        return True

    def differs(self, path: bytes) -> bool:
        """Say whether a file with several names was kept although the snapshot has another one."""
        return path in self._kept_different

    def _keep(self, folder: Folder, name: bytes, node: Node, found: os.stat_result) -> Action:
        if self.overwrite is Overwrite.IF_CHANGED:
            given = renew(folder, name, node, found, self._rights)
            if given is None:
                return Action.OVERWRITE
            self._ledger.note(node.path, given.fault, is_withheld=given.is_withheld)
        elif node.is_hard_linked and not is_same(node, found):
            self._kept_different.add(node.path)
        return Action.KEEP


def look(folder: Folder, name: bytes) -> os.stat_result | None:
    """Return the facts of an entry without following it, None if there is none.

    Raises:
        OSError: If it cannot be looked at.
    """
    try:
        return os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove_empty(folder: Folder, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=folder.fd)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        raise EntryNotRestored("a directory that is not empty stands in its place") from error
