"""What a restore does with an entry, given what stands in its place; `Preview` asks ahead."""

import os
import stat
from types import TracebackType
from typing import Self, assert_never

from backapp_core.engine.extract_folders import (
    Folder,
    FolderWalk,
    InTheWay,
    open_root,
    split_name,
    split_path,
)
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.model.entries import EntryKind, Node, format_of_kind
from backapp_core.model.restores import Action, Overwrite


def decide(node: Node, found: os.stat_result, overwrite: Overwrite) -> Action:
    """Say what happens to ``node`` where something with the facts ``found`` stands.

    A directory in the way of something else is replaced only if it is empty; not known here.
    """
    if node.kind is EntryKind.DIRECTORY and stat.S_ISDIR(found.st_mode):
        return Action.KEEP
    match overwrite:
        case Overwrite.NEVER:
            is_kept = True
        case Overwrite.ALWAYS:
            is_kept = False
        case Overwrite.IF_CHANGED:
            is_kept = is_same(node, found)
        case Overwrite.IF_NEWER:
            is_kept = node.mtime_ns <= found.st_mtime_ns
        case _:
            assert_never(overwrite)
    if not is_kept:
        return Action.OVERWRITE
    # Nothing can be put below what stands in the place of a directory.
    return Action.REFUSE if node.kind is EntryKind.DIRECTORY else Action.KEEP


def is_same(node: Node, found: os.stat_result) -> bool:
    """Say whether type, size and modification time agree; for devices the device number too."""
    if (
        stat.S_IFMT(found.st_mode) != format_of_kind(node.kind)
        or found.st_mtime_ns != node.mtime_ns
    ):
        return False
    if node.kind is EntryKind.FILE:
        return found.st_size == node.size_bytes
    if node.kind is EntryKind.SYMLINK:
        return found.st_size == len(node.target)
    return not node.kind.is_device or found.st_rdev == node.rdev


class Preview:
    """Says what a restore would do, and changes nothing; a context manager."""

    def __init__(self, root: str | bytes | os.PathLike[str], overwrite: Overwrite) -> None:
        """Look at the target ``root``, which may be missing.

        Raises:
            TargetError: If something that is no directory stands there, or it may not be entered.
        """
        self._overwrite = overwrite
        self._walk: FolderWalk | None = None
        if os.path.lexists(root):
            self._walk = FolderWalk(open_root(os.fsencode(root), make=False), makes=False)

    def would(self, node: Node) -> Action:
        """Say what would happen to ``node`` alone, as things stand now."""
        if node.path == b"/":
            return Action.KEEP
        try:
            parent, name = split_name(node.path)
            if self._walk is None:
                split_path(parent)
                return Action.CREATE
            folder = self._walk.enter(parent)
            found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return Action.CREATE
        except InTheWay:
            # The directory's own node has said whether that is replaced.
            return Action.REFUSE if self._overwrite is Overwrite.NEVER else Action.CREATE
        except (OSError, EntryNotRestored):
            return Action.REFUSE
        action = decide(node, found, self._overwrite)
        if (
            action is Action.OVERWRITE
            and stat.S_ISDIR(found.st_mode)
            and not _is_empty(folder, name)
        ):
            return Action.REFUSE
        return action

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


def _is_empty(parent: Folder, name: bytes) -> bool:
    try:
        walk = FolderWalk(parent, makes=False)
        with os.scandir(walk.enter(b"/" + name).fd) as entries:
            return next(entries, None) is None
    except (OSError, TargetError):
        return False
