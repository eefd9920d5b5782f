"""Extended attributes, and names of users and groups."""

import errno
import os
import stat

_NONE = frozenset({errno.ENOTSUP, errno.ENODATA})


def attributes_at(folder: int, name: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return the attributes of ``name`` in an open directory (None: its own), in byte order.

    By way of ``/proc``, so that nothing is opened (a fifo would block, a tape would rewind), links
    are not followed and a file that may not be read still tells its attributes.

    Raises:
        FileNotFoundError: If there is no such name.
        OSError: If they cannot be read.
    """
    if not hasattr(os, "listxattr"):
        return ()
    path = b"/proc/self/fd/%d" % folder if name is None else b"/proc/self/fd/%d/%s" % (folder, name)
    try:
        return _attributes(path, follows=name is None)
    except FileNotFoundError:
        if os.path.exists("/proc/self/fd"):  # noqa: PTH110  # a plain question
            raise
        return _attributes_by_opening(folder, name)


def opened_attributes(descriptor: int) -> tuple[tuple[bytes, bytes], ...] | None:
    """Return the attributes of an open file, in byte order; None if they cannot be read."""
    if not hasattr(os, "listxattr"):
        return ()
    try:
        return _attributes(descriptor, follows=True)
    except OSError:
        return None


def _attributes(place: bytes | int, *, follows: bool) -> tuple[tuple[bytes, bytes], ...]:
    try:
        keys = os.listxattr(place, follow_symlinks=follows)
    except OSError as error:
        if error.errno in _NONE:
            return ()
        raise
    if not keys:
        return ()
    found: list[tuple[bytes, bytes]] = []
    for key in keys:
        try:
            found.append((os.fsencode(key), os.getxattr(place, key, follow_symlinks=follows)))
        except OSError as error:
            if error.errno not in _NONE:  # ENODATA: it was removed since they were listed.
                raise
    return tuple(sorted(found))


def _attributes_by_opening(folder: int, name: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    """Where no ``/proc`` is mounted: files and directories only."""
    mode = os.stat(b"." if name is None else name, dir_fd=folder, follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return ()
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(b"." if name is None else name, flags, dir_fd=folder)
    try:
        return _attributes(descriptor, follows=True)
    finally:
        os.close(descriptor)


def user_name(uid: int) -> str:
    """Return the name of a user, empty if there is none."""
    try:
        import pwd
    except ImportError:  # Windows
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def group_name(gid: int) -> str:
    """Return the name of a group, empty if there is none."""
    try:
        import grp
    except ImportError:  # Windows
        return ""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
