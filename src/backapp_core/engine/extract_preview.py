"""Says what a restore would do, entry by entry, and changes nothing.

What happens to an entry depends on those before it: nothing is restored below a directory that is
refused, and another name of a file follows the first one.
"""

import os
import stat
from types import TracebackType
from typing import Self

from attrs import frozen

from backapp_core.engine.extract_folders import (
    Folder,
    FolderWalk,
    InTheWay,
    open_root,
    split_name,
    split_path,
)
from backapp_core.engine.extract_policy import decide, is_same
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.restores import Action, Overwrite

_ALL_OURS = 0o700
_Identity = tuple[int, int, int, str, EntryKind]


@frozen
class _FirstName:
    """What becomes of the first name of a file with several."""

    path: bytes
    can_be_named: bool
    """Whether a file of the snapshot will have that name."""
    kept: os.stat_result | None
    """The facts of the file that has the name, if that stays."""


class Preview:
    """Foresees a restore whose entries are asked for in their order; a context manager."""

    def __init__(self, root: str | bytes | os.PathLike[str], overwrite: Overwrite) -> None:
        """Look at the target ``root``, which may be missing.

        Raises:
            TargetError: If something that is no directory stands there, or it may not be entered.
        """
        self._overwrite = overwrite
        self._walk: FolderWalk | None = None
        if os.path.lexists(root):
            self._walk = FolderWalk(open_root(os.fsencode(root), make=False), makes=False)
        self._refused: set[bytes] = set()
        self._replaced: set[bytes] = set()
        self._closed: set[bytes] = set()
        self._first_names: dict[_Identity, _FirstName] = {}

    def would(self, node: Node) -> Action:
        """Say what would happen to ``node``, as things stand now, after all that was asked for."""
        if node.path == b"/":
            return Action.KEEP
        parent, _, name = node.path.rpartition(b"/")
        if _has_ancestor(parent, self._refused):
            return self._note(node, Action.REFUSE, None)
        try:
            split_name(node.path)
            folder = self._enter(parent)
            if folder is None:
                return self._note(node, Action.CREATE, None)
            found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return self._note(node, Action.CREATE, None)
        except (OSError, EntryNotRestored) as error:
            return self._note(node, self._unseen(parent, error), None)
        action = self._decide(node, found)
        is_directory = stat.S_ISDIR(found.st_mode)
        if action is Action.OVERWRITE and is_directory and not _is_empty(folder, name):
            action = Action.REFUSE
        return self._note(node, action, found)

    def _enter(self, parent: bytes) -> Folder | None:
        if self._walk is None:
            split_path(parent)
            return None
        return self._walk.enter(parent)

    def _unseen(self, parent: bytes, error: OSError | EntryNotRestored) -> Action:
        """Say what happens in a directory that cannot be looked into as things stand."""
        if isinstance(error, InTheWay) and _has_ancestor(parent, self._replaced):
            return Action.CREATE
        # A restore opens directories of our own, and only then can see what is in them.
        if isinstance(error, PermissionError) and _has_ancestor(parent, self._closed):
            return Action.OVERWRITE
        return Action.REFUSE

    def _decide(self, node: Node, found: os.stat_result) -> Action:
        action = decide(node, found, self._overwrite)
        first = self._first_name_of(node)
        if first is None or self._overwrite is not Overwrite.IF_CHANGED:
            return action
        # The same content in a file of its own is not yet the link that the snapshot has.
        is_named_so = first.kept is not None and os.path.samestat(first.kept, found)
        return Action.KEEP if is_named_so else Action.OVERWRITE

    def _note(self, node: Node, action: Action, found: os.stat_result | None) -> Action:
        """Remember what others depend on, and return what happens in view of it."""
        if node.kind is EntryKind.DIRECTORY:
            self._note_directory(node.path, action, found)
        elif node.is_hard_linked:
            first = self._first_name_of(node)
            if first is None:
                self._first_names[_identity(node)] = self._as_first_name(node, action, found)
            elif action is not Action.KEEP and not first.can_be_named:
                return Action.REFUSE
        return action

    def _note_directory(self, path: bytes, action: Action, found: os.stat_result | None) -> None:
        if action is Action.REFUSE:
            self._refused.add(path)
        elif found is None:
            return
        elif action is Action.OVERWRITE:
            self._replaced.add(path)
        elif (
            found.st_uid == os.geteuid()
            and found.st_mode & _ALL_OURS != _ALL_OURS
            and self._overwrite is not Overwrite.NEVER
        ):
            self._closed.add(path)

    def _as_first_name(
        self, node: Node, action: Action, found: os.stat_result | None
    ) -> _FirstName:
        kept = found if action is Action.KEEP else None
        return _FirstName(
            node.path,
            can_be_named=action is not Action.REFUSE and (kept is None or is_same(node, kept)),
            kept=kept,
        )

    def _first_name_of(self, node: Node) -> _FirstName | None:
        """Return what is known of the name that ``node`` is another one for, None if of none."""
        if not node.is_hard_linked:
            return None
        first = self._first_names.get(_identity(node))
        return first if first is not None and first.path != node.path else None

    def close(self) -> None:
        """Let go of the target; closing twice is fine."""
        self._walk = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _has_ancestor(path: bytes, among: set[bytes]) -> bool:
    """Say whether ``path`` or a directory above it is ``among`` those."""
    while path and among:
        if path in among:
            return True
        path = path.rpartition(b"/")[0]
    return False


def _identity(node: Node) -> _Identity:
    # A number may have been given anew between the moments at which two names were recorded.
    return (node.device, node.inode, node.ctime_ns, node.sha256, node.kind)


def _is_empty(parent: Folder, name: bytes) -> bool:
    try:
        walk = FolderWalk(parent, makes=False)
        with os.scandir(walk.enter(b"/" + name).fd) as entries:
            return next(entries, None) is None
    except (OSError, TargetError):
        return False
