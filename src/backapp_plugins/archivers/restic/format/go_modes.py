"""Modes as Go has them: the permission bits are those of Unix, all others lie elsewhere."""

import stat
from functools import lru_cache

from backapp_core.plugin_api import EntryKind, kind_of_mode

_PERMISSIONS = 0o777
_TYPE_BITS = {
    EntryKind.FILE: 0,
    EntryKind.DIRECTORY: 1 << 31,
    EntryKind.SYMLINK: 1 << 27,
    EntryKind.BLOCK_DEVICE: 1 << 26,
    EntryKind.CHAR_DEVICE: 1 << 26 | 1 << 21,
    EntryKind.FIFO: 1 << 25,
    EntryKind.SOCKET: 1 << 24,
}
_SPECIAL_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


@lru_cache(1 << 12)
def go_mode(mode: int) -> int:
    """Return ``st_mode`` as Go's ``FileMode``.

    Raises:
        ValueError: If the type bits name no known kind.
    """
    special = sum(go_bit for unix_bit, go_bit in _SPECIAL_BITS if mode & unix_bit)
    return mode & _PERMISSIONS | special | _TYPE_BITS[kind_of_mode(mode)]


@lru_cache(1 << 12)
def permissions(mode: int) -> int:
    """Return the bits of ``0o7777`` that a Go ``FileMode`` says; its type bits are left out."""
    return mode & _PERMISSIONS | sum(unix_bit for unix_bit, bit in _SPECIAL_BITS if mode & bit)
