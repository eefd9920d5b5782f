"""What a tree of files on disk is, in all that a backup must keep; and whether two are the same.

The oracle behind round-trip tests. It shares no code with scanners, archivers or the extractor, and
it reaches every path by descriptors, so that names that are no UTF-8 and paths longer than the
system allows can be compared too.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve, field, fields_dict, frozen

from backapp_core.model.entries import EntryKind, kind_of_mode
from backapp_core.model.names import to_text

_BLOCK_BYTES = 64 * 1024
_CHUNK_BYTES = 3500
_SHOWN = 20


@frozen
class Facts:
    """One path of a tree on disk, as far as a backup keeps it."""

    kind: EntryKind
    mode: int
    """Permission bits with set-id and sticky bits."""
    uid: int
    gid: int
    mtime_ns: int
    size_bytes: int = 0
    """Logical length of a file, else 0."""
    content: str = ""
    """Hash of a file's logical content; a hole and stored zeros are the same."""
    target: bytes = b""
    rdev: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    """In byte order of names; POSIX ACLs are among them."""
    link_group: bytes = b""
    """First path, in byte order, of those that share the inode; empty if there is one name only."""
    allocated_bytes: int = field(default=0, eq=False)
    """Bytes on disk; never compared, but tests of holes look at it."""


COMPARED = tuple(name for name in fields_dict(Facts) if name != "allocated_bytes")


def describe_tree(top: bytes | Path) -> dict[bytes, Facts]:
    """Return the facts of everything below ``top`` by relative path, its own under ``b""``.

    Symlinks are not followed, but ``top`` may be reached through some.
    """
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    found: dict[bytes, Facts] = {}
    groups: dict[tuple[int, int], list[bytes]] = {}
    try:
        folders = [b""]
        while folders:
            folder = folders.pop()
            with parent_of(fd, folder + b"/.") as (folder_fd, _):
                found[folder] = _facts(folder_fd, b".")
                for name in map(os.fsencode, os.listdir(folder_fd)):  # noqa: PTH208  # by descriptor
                    path = folder + b"/" + name if folder else name
                    status = os.lstat(name, dir_fd=folder_fd)
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(path)
                        continue
                    found[path] = _facts(folder_fd, name)
                    if status.st_nlink > 1:
                        groups.setdefault((status.st_dev, status.st_ino), []).append(path)
    finally:
        os.close(fd)
    for paths in groups.values():
        if len(paths) > 1:
            for path in paths:
                found[path] = _grouped(found[path], min(paths))
    return found


def tree_differences(
    first: bytes | Path,
    second: bytes | Path,
    *,
    ignoring: Collection[str] = (),
    leaving_out: Collection[bytes] = (),
) -> list[str]:
    """Return one line per difference between two trees on disk, in byte order of paths.

    Args:
        first: The tree as it should be.
        second: The tree as it is.
        ignoring: Names of `Facts` that are not compared (``mtime_ns``).
        leaving_out: Relative paths that are not compared, with everything below them.
    """
    unknown = set(ignoring) - set(COMPARED)
    assert not unknown, f"there are no such facts: {sorted(unknown)}"
    wanted, actual = describe_tree(first), describe_tree(second)
    lines: list[str] = []
    for path in sorted(wanted.keys() | actual.keys()):
        if any(path == left_out or path.startswith(left_out + b"/") for left_out in leaving_out):
            continue
        shown = to_text(path) or "."
        if path not in actual:
            lines.append(f"{shown:.200}: missing ({wanted[path].kind})")
        elif path not in wanted:
            lines.append(f"{shown:.200}: too much ({actual[path].kind})")
        else:
            lines.extend(
                f"{shown:.200}: {name} is {getattr(actual[path], name)!r:.200} "
                f"instead of {getattr(wanted[path], name)!r:.200}"
                for name in COMPARED
                if name not in ignoring
                and getattr(wanted[path], name) != getattr(actual[path], name)
            )
    return lines


def same_tree(
    first: bytes | Path,
    second: bytes | Path,
    *,
    ignoring: Collection[str] = (),
    leaving_out: Collection[bytes] = (),
) -> bool:
    """Return True if two trees on disk are the same; arguments as in `tree_differences`.

    Raises:
        AssertionError: If they differ; the message lists the differences.
    """
    lines = tree_differences(first, second, ignoring=ignoring, leaving_out=leaving_out)
    if lines:
        more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise AssertionError("\n".join([f"{len(lines)} differences:", *lines[:_SHOWN], *more]))
    return True


@contextmanager
def parent_of(top_fd: int, path: bytes) -> Generator[tuple[int, bytes], None, None]:
    """Open the directory that holds ``path``, of any length; give descriptor and last part."""
    *parts, name = path.split(b"/")
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top_fd)
    try:
        for chunk in _chunks([part for part in parts if part]):
            there = os.open(chunk, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = there
        yield here, name
    finally:
        os.close(here)


def _chunks(parts: list[bytes]) -> Iterator[bytes]:
    """Join parts to relative paths that the system accepts."""
    chunk = b""
    for part in parts:
        if len(chunk) + len(part) > _CHUNK_BYTES:
            yield chunk
            chunk = b""
        chunk = chunk + b"/" + part if chunk else part
    if chunk:
        yield chunk


def _facts(folder_fd: int, name: bytes) -> Facts:
    status = os.lstat(name, dir_fd=folder_fd)
    kind = kind_of_mode(status.st_mode)
    is_file = kind is EntryKind.FILE
    return Facts(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size_bytes=status.st_size if is_file else 0,
        content=_content(folder_fd, name) if is_file else "",
        target=os.readlink(name, dir_fd=folder_fd) if kind is EntryKind.SYMLINK else b"",
        rdev=status.st_rdev if kind.is_device else 0,
        xattrs=_xattrs(folder_fd, name),
        allocated_bytes=status.st_blocks * 512,
    )


def _grouped(facts: Facts, group: bytes) -> Facts:
    return evolve(facts, link_group=group)


def _xattrs(folder_fd: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    # By way of /proc, so that links are not followed and fifos and devices are not opened.
    path = b"/proc/self/fd/%d/%s" % (folder_fd, name)
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return ()
        raise
    return tuple(
        (os.fsencode(key), os.getxattr(path, key, follow_symlinks=False))
        for key in sorted(names, key=os.fsencode)
    )


def _content(folder_fd: int, name: bytes) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder_fd)
    digest = hashlib.sha256()
    try:
        for offset in _blocks_with_data(fd):
            block = os.pread(fd, _BLOCK_BYTES, offset)
            if block.strip(b"\0"):
                digest.update(b"%d:" % offset + block)
    finally:
        os.close(fd)
    return digest.hexdigest()


def _blocks_with_data(fd: int) -> Iterator[int]:
    """Say where blocks begin that are not wholly a hole, each once.

    Raises:
        OSError: If the file system cannot say.
    """
    done = 0
    while True:
        try:
            data = os.lseek(fd, done, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(fd, data, os.SEEK_HOLE)
        first = max(done, data // _BLOCK_BYTES * _BLOCK_BYTES)
        for offset in range(first, end, _BLOCK_BYTES):
            yield offset
            done = offset + _BLOCK_BYTES
