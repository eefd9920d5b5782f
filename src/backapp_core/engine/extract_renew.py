"""Brings the metadata of an unchanged file up to date instead of writing it again."""

import os

from backapp_core.engine.extract_folders import Folder
from backapp_core.engine.extract_metadata import SET_ID, Given, Rights, give
from backapp_core.model.entries import EntryKind, Node

_SAME = Given()
_EXAMINE = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def renew(
    folder: Folder, name: bytes, node: Node, found: os.stat_result, rights: Rights
) -> Given | None:
    """Give the file ``name``, whose content stays, the metadata of ``node``.

    A file with several names is not touched, because some of them may lie outside the target;
    neither is anything but a regular file.

    Returns:
        How it went, or None if only writing the entry anew can help.
    """
    if not node.xattrs and _agrees(node, found, rights):
        return _SAME
    if node.kind is not EntryKind.FILE:
        return None
    try:
        fd = os.open(name, _EXAMINE, dir_fd=folder.fd)
    except OSError:
        return None
    try:
        opened = os.fstat(fd)
        if not os.path.samestat(opened, found):
            return None
        if _agrees(node, opened, rights) and _has_attributes(fd, node):
            return _SAME
        if opened.st_nlink != 1:
            return None
        return give(fd, node, opened, rights)
    finally:
        os.close(fd)


def _agrees(node: Node, found: os.stat_result, rights: Rights) -> bool:
    if rights.owners and (found.st_uid != node.uid or found.st_gid != node.gid):
        return False
    if node.kind is EntryKind.SYMLINK:
        return True
    ignored = 0 if rights.special else SET_ID
    return (found.st_mode ^ node.mode) & 0o7777 & ~ignored == 0


def _has_attributes(fd: int, node: Node) -> bool:
    try:
        return all(os.getxattr(fd, name) == value for name, value in node.xattrs)
    except (OSError, ValueError):
        return False
