"""Brings the metadata of an unchanged file up to date instead of writing it again.

What the file has and the snapshot lacks goes: an access list, a capability or a set-id bit that
somebody else gave to it would outlive the restore otherwise.
"""

import os

from backapp_core.engine.extract_folders import Folder
from backapp_core.engine.extract_metadata import (
    SET_ID,
    Given,
    Rights,
    foreign_attributes,
    give,
)
from backapp_core.model.entries import EntryKind, Node

_SAME = Given()
_ALL = Rights(owners=True, special=True)
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
    is_plain = not node.xattrs and _agrees(node, found, rights)
    if is_plain and not _may_have_foreign(folder, name, node, rights):
        return _SAME
    if node.kind is not EntryKind.FILE:
        return None
    try:
        fd = os.open(name, _EXAMINE, dir_fd=folder.fd)
    except OSError:
        return None
    try:
        return _renew_open(fd, node, found, rights)
    except OSError:
        return None
    finally:
        os.close(fd)


def _renew_open(fd: int, node: Node, found: os.stat_result, rights: Rights) -> Given | None:
    opened = os.fstat(fd)
    if not os.path.samestat(opened, found):
        return None
    is_same = _agrees(node, opened, rights) and _has_attributes(fd, node)
    # A capability that agrees with the snapshot may stay even where none would be given.
    foreign = foreign_attributes(fd, node, _ALL if is_same else rights)
    if is_same and not foreign:
        return _SAME
    if opened.st_nlink != 1:
        return None
    for name in foreign:
        os.removexattr(fd, name)
    # The mask of an access list shows as the group's permissions, so these are right only now.
    return give(fd, node, os.fstat(fd) if foreign else opened, rights)


def _may_have_foreign(folder: Folder, name: bytes, node: Node, rights: Rights) -> bool:
    """Say whether the entry may have attributes that have to go; costs one system call."""
    if node.kind is EntryKind.SYMLINK:
        return False
    try:
        # There is no such call relative to a descriptor, and the file may not be readable.
        place = b"/proc/self/fd/%d/%s" % (folder.fd, name)
        return bool(foreign_attributes(place, node, rights, follows=False))
    except OSError:
        return True


def _agrees(node: Node, found: os.stat_result, rights: Rights) -> bool:
    is_link = node.kind is EntryKind.SYMLINK
    # Whose set-id bits they are matters even where owners are left alone.
    heeds_owner = rights.owners or (found.st_mode & SET_ID and not is_link)
    if heeds_owner and (found.st_uid != node.uid or found.st_gid != node.gid):
        return False
    if is_link:
        return True
    # Bits that are not given may be missing; there may be none that the snapshot lacks.
    ignored = 0 if rights.special else SET_ID & node.mode
    return (found.st_mode ^ node.mode) & 0o7777 & ~ignored == 0


def _has_attributes(fd: int, node: Node) -> bool:
    try:
        return all(os.getxattr(fd, name) == value for name, value in node.xattrs)
    except (OSError, ValueError):
        return False
