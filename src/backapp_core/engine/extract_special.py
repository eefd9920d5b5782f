"""Makes symlinks, fifos, sockets and devices under a temporary name, with all their metadata."""

import os
import stat

from backapp_core.engine.extract_folders import Folder
from backapp_core.engine.extract_metadata import Given, Rights, give
from backapp_core.errors import EntryNotRestored
from backapp_core.model.entries import EntryKind, Node, format_of_kind


def make_special(folder: Folder, temporary: bytes, node: Node, rights: Rights) -> Given:
    """Make what ``node`` says as ``temporary`` in ``folder`` and give it its metadata.

    Raises:
        EntryNotRestored: If it may not be made, or something else took its place meanwhile.
        OSError: If the system refuses.
    """
    if node.kind.is_device and not rights.special:
        raise EntryNotRestored("devices are not restored here unless that is asked for")
    kind = format_of_kind(node.kind)
    try:
        if node.kind is EntryKind.SYMLINK:
            os.symlink(node.target, temporary, dir_fd=folder.fd)
        else:
            device = node.rdev if node.kind.is_device else 0
            os.mknod(temporary, kind | 0o600, device, dir_fd=folder.fd)
    except (ValueError, OverflowError) as error:
        raise EntryNotRestored(f"it cannot be made: {error}") from error
    # Calls that take names follow links or cannot set everything; a pinned inode can be trusted.
    fd = os.open(temporary, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
    try:
        found = os.fstat(fd)
        if stat.S_IFMT(found.st_mode) != kind or found.st_nlink != 1:
            raise EntryNotRestored("somebody replaced it while it was being made")
        has_mode = node.kind is not EntryKind.SYMLINK
        return give(f"/proc/self/fd/{fd}", node, found, rights, has_mode=has_mode)
    finally:
        os.close(fd)
