"""What a restore does with an entry, given what stands in its place."""

import os
import stat
from typing import assert_never

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
