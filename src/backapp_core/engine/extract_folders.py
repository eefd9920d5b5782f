"""Walks a restore's target by descriptors of directories, so that nothing leads outside.

The root is opened once, by its path. Below it every directory is opened relative to the one above,
never following a link. A walk keeps the descriptors of the deepest levels only, and paths may be
longer than the system takes in one call.
"""

import os
from collections import OrderedDict

from backapp_core.errors import EntryNotRestored, TargetError

OPEN_DIRECTORY = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_OURS_ALONE = 0o700
_PERMISSIONS = 0o777
_REMEMBERED = 1 << 16
_OPEN_LEVELS = 64
_OPEN_RECENT = 32
_NO_NAMES = frozenset((b"", b".", b".."))
_DEFAULT_ACL = "system.posix_acl_default"
_ACCESS_ACL = "system.posix_acl_access"


class Folder:
    """An open directory below the target's root.

    Its descriptor is closed when the last one who holds the object lets go: files that several
    threads finish need it for longer than the walk stays in it, and counting by hand costs more.
    """

    __slots__ = ("fd", "has_default_acl", "is_new", "made")

    def __init__(self, fd: int, *, is_new: bool, has_default_acl: bool = False) -> None:
        self.fd = fd
        self.is_new = is_new
        """Whether this restore made it: all in it is its own."""
        self.has_default_acl = has_default_acl
        """Whether what is made in it inherits an access list that the snapshot knows nothing of."""
        self.made: set[int] = set()
        """Inodes that this restore made in it; kept only for directories that were there before."""

    def __del__(self) -> None:
        os.close(self.fd)


class FolderWalk:
    """A position in the target's tree that moves from directory to directory."""

    def __init__(self, root: Folder, *, makes: bool) -> None:
        """Start at ``root``; with ``makes`` missing directories are made (mode 0700) on the way."""
        self._root = root
        self._makes = makes
        self._names: list[bytes] = []
        self._folders: list[Folder | None] = []
        self._is_new: list[bool] = []
        self._made: set[tuple[int, int]] = set()

    def enter(self, path: bytes) -> Folder:
        """Go to the directory at node path ``path`` (empty: the root) and return it.

        Raises:
            EntryNotRestored: If ``path`` is no clean absolute path, or what stands on the way is no
                directory.
            OSError: If a directory is missing and not to be made, or cannot be opened or made.
        """
        names = split_path(path)
        same = 0
        for one, other in zip(names, self._names, strict=False):
            if one != other:
                break
            same += 1
        del self._names[same:], self._folders[same:], self._is_new[same:]
        folder = self._reopen()
        for name in names[same:]:
            folder = self.step(folder, name)
        return folder

    def step(self, parent: Folder, name: bytes, *, make: bool = False) -> Folder:
        """Go from ``parent``, where the walk stands, into its directory ``name``.

        Args:
            parent: Where the walk stands.
            name: Name of the directory.
            make: Expect that it is missing.

        Raises:
            InTheWay: If something that is no directory stands there.
            OSError: If it is missing and not to be made, or cannot be opened or made.
        """
        folder = self._make(parent, name) if make else None
        if folder is None:
            folder = self._open(parent, name)
        self._push(name, folder)
        return folder

    def _open(self, parent: Folder, name: bytes) -> Folder:
        try:
            folder = _open(parent, name)
        except FileNotFoundError:
            if not self._makes:
                raise
            return self._make(parent, name) or _open(parent, name)
        self._judge(folder)
        return folder

    def _make(self, parent: Folder, name: bytes) -> Folder | None:
        """Make and open a directory, and remember it; None if something of that name exists."""
        folder = _make(parent, name)
        if folder is not None:
            found = os.fstat(folder.fd)
            if len(self._made) == _REMEMBERED:
                self._made.clear()
            self._made.add((found.st_dev, found.st_ino))
        return folder

    def _judge(self, folder: Folder) -> None:
        """Find out what matters of a directory in which something may be made."""
        if self._made and self._is_own(folder):
            folder.is_new = True
        elif self._makes:
            folder.has_default_acl = _has_default_acl(folder.fd)

    def _is_own(self, folder: Folder) -> bool:
        """Say whether the walk made a directory that it comes back to.

        A number alone proves nothing: who may write into the directory above could have removed
        it while it was empty, and made one of his own. That would not be ours alone.
        """
        found = os.fstat(folder.fd)
        return (
            (found.st_dev, found.st_ino) in self._made
            and found.st_uid == os.geteuid()
            and found.st_mode & _PERMISSIONS == _OURS_ALONE
        )

    def _push(self, name: bytes, folder: Folder) -> None:
        self._names.append(name)
        self._folders.append(folder)
        self._is_new.append(folder.is_new)
        if len(self._folders) > _OPEN_LEVELS:
            self._folders[-_OPEN_LEVELS - 1] = None

    def _reopen(self) -> Folder:
        """Return the folder that the names lead to; open again what was closed meanwhile."""
        first = len(self._folders)
        while first and self._folders[first - 1] is None:
            first -= 1
        folder = self._folders[first - 1] if first else self._root
        assert folder is not None  # noqa: S101  # the loop ended at one that is open
        for index in range(first, len(self._names)):
            folder = _open(folder, self._names[index])
            folder.is_new = self._is_new[index]
            if not folder.is_new:
                self._judge(folder)
            self._folders[index] = folder
            if index >= _OPEN_LEVELS:
                self._folders[index - _OPEN_LEVELS] = None
        return folder


class RecentFolders:
    """The directories that were entered last, still open.

    Content does not come in the order of the tree from every repository; what is done for files
    that change places between a few directories is the same then as if they did not.
    """

    def __init__(self) -> None:
        self._folders: OrderedDict[bytes, Folder] = OrderedDict()

    def get(self, path: bytes) -> Folder | None:
        """Return the directory at ``path`` if it is still open."""
        folder = self._folders.get(path)
        if folder is not None:
            self._folders.move_to_end(path)
        return folder

    def keep(self, path: bytes, folder: Folder) -> None:
        """Keep a directory open that was entered; the one that was not asked for longest goes."""
        self._folders[path] = folder
        self._folders.move_to_end(path)
        if len(self._folders) > _OPEN_RECENT:
            self._folders.popitem(last=False)


def open_root(path: bytes, *, make: bool) -> Folder:
    """Open the root of a target; ``make`` makes it, and what is above, with mode 0700 if missing.

    Raises:
        TargetError: If it cannot be opened or made, or this system has no directory descriptors.
    """
    shown = os.fsdecode(path)
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        raise TargetError("this system cannot restore safely: it has no directory descriptors")
    try:
        if make:
            _make_parents(path)
        # A link as the root itself is the user's own choice; only below it none is followed.
        fd = os.open(path, OPEN_DIRECTORY & ~os.O_NOFOLLOW)
    except NotADirectoryError as error:
        raise TargetError(f"target {shown} is not a directory") from error
    except OSError as error:
        raise TargetError(f"target {shown} cannot be opened: {error.strerror}") from error
    folder = Folder(fd, is_new=False)
    if os.fstatvfs(fd).f_flag & os.ST_RDONLY and make:
        raise TargetError(f"target {shown} is on a file system that is mounted read-only")
    folder.has_default_acl = _has_default_acl(fd)
    return folder


def unlock(parent: Folder, name: bytes) -> bool:
    """Give mode 0700 to a directory of our own that we may not open; False if it is no such one.

    Raises:
        OSError: If it cannot be looked at or changed.
    """
    try:
        # What is opened so can be changed without being read, and a link is not followed.
        fd = os.open(name, OPEN_DIRECTORY | os.O_PATH, dir_fd=parent.fd)
    except (NotADirectoryError, FileNotFoundError):
        return False
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            return False
        os.chmod(f"/proc/self/fd/{fd}", 0o700)  # noqa: PTH101  # descriptor
    finally:
        os.close(fd)
    return True


def split_path(path: bytes) -> list[bytes]:
    """Return the parts of a node path below the root.

    Raises:
        EntryNotRestored: If it is not absolute or has empty, ``.``, ``..`` or impossible parts.
    """
    if not path:
        return []
    first, *names = path.split(b"/")
    if first or b"\0" in path or not _NO_NAMES.isdisjoint(names):
        raise EntryNotRestored("its path could lead elsewhere")
    return names


def split_name(path: bytes) -> tuple[bytes, bytes]:
    """Return the path of the directory above and the name, checking the name alone.

    Raises:
        EntryNotRestored: If that is no name that an entry can have.
    """
    parent, slash, name = path.rpartition(b"/")
    if not slash or name in _NO_NAMES or b"\0" in name:
        raise EntryNotRestored("its path could lead elsewhere")
    return parent, name


def _make_parents(path: bytes) -> None:
    missing: list[bytes] = []
    while path and not os.path.isdir(path):  # noqa: PTH112  # bytes
        missing.append(path)
        above = os.path.dirname(path.rstrip(b"/"))  # noqa: PTH120  # bytes
        if above == path:
            break
        path = above
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102  # bytes
        except FileExistsError:
            continue


def _make(parent: Folder, name: bytes) -> Folder | None:
    """Make and open a directory; None if something of that name exists."""
    try:
        os.mkdir(name, _OURS_ALONE, dir_fd=parent.fd)
    except FileExistsError:
        return None
    folder = _open(parent, name, is_new=True)
    if parent.has_default_acl:
        for attribute in (_DEFAULT_ACL, _ACCESS_ACL):
            remove_attribute(folder.fd, attribute)
    return folder


def _open(parent: Folder, name: bytes, *, is_new: bool = False) -> Folder:
    try:
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent.fd)
    except NotADirectoryError as error:
        raise InTheWay from error
    return Folder(fd, is_new=is_new)


class InTheWay(EntryNotRestored):
    """Something that is no directory stands where a directory belongs."""

    def __init__(self) -> None:
        super().__init__("something that is no directory stands in the place of its directory")


def remove_attribute(fd: int, name: str) -> None:
    """Remove an extended attribute if it is there."""
    try:
        os.removexattr(fd, name)
    except OSError:
        return


def _has_default_acl(fd: int) -> bool:
    try:
        os.getxattr(fd, _DEFAULT_ACL)
    except OSError:
        return False
    return True
