"""One walk over all roots, depth first, with few open directories and no recursion."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import final

from attrs import frozen

from backapp_core.plugin_api import Entry, EntryReplaced
from backapp_plugins.scanners.files.faults import REPLACED, reason
from backapp_plugins.scanners.files.folders import Folder, Folders
from backapp_plugins.scanners.files.found import FilesDirectory
from backapp_plugins.scanners.files.listing import Listing, Wanted, entry_of, list_folder
from backapp_plugins.scanners.files.mounts import kernel_devices
from backapp_plugins.scanners.files.roots import Ways
from backapp_plugins.scanners.files.rules import Rules
from backapp_plugins.scanners.files.tags import tag_in


@frozen
class Limits:
    """What ends the walk at a directory, and which files are too large."""

    tags: tuple[bytes, ...] = ()
    has_cache_tags: bool = False
    one_file_system: bool = False
    largest_bytes: int | None = None
    skipped: tuple[bytes, ...] = ()


@final
class _Level:
    """A directory on the way from the top to where the walk is."""

    __slots__ = ("folder", "is_outside", "is_whole", "names", "passages")

    def __init__(
        self, folder: Folder, listing: Listing, *, is_whole: bool, is_outside: bool
    ) -> None:
        self.folder = folder
        self.names = listing.folders
        """Directories in it that are still to be walked; the next one is the last."""
        self.passages = listing.passages
        """Those that are kept only for what leads through them to a root."""
        self.is_whole = is_whole
        """Whether all others are kept with their contents; else none is."""
        self.is_outside = is_outside
        """Whether it lies above all roots, where links are followed as the user wrote them."""


@final
class Walk:
    """The state of one scan."""

    def __init__(
        self,
        ways: Ways,
        *,
        rules: Rules,
        limits: Limits,
        check: Callable[[], None],
        report: Callable[[bytes, str], None],
    ) -> None:
        self._ways = ways
        self._rules = rules
        self._limits = limits
        self._check = check
        self._report = report
        self._folders = Folders()
        self._kernel = kernel_devices()
        self._skipped = _inodes(limits.skipped)
        self._wanted = Wanted(
            largest_bytes=sys.maxsize if limits.largest_bytes is None else limits.largest_bytes
        )
        self._looks_for_tags = bool(limits.tags) or limits.has_cache_tags
        self._levels: list[_Level] = []

    def directories(self) -> Iterator[FilesDirectory]:
        """Hand over one directory after another."""
        is_root = b"/" in self._ways.roots
        top, status = self._folders.enter_top(lists=is_root)
        yield self._hand_over(top, entry_of(b"/", status), is_whole=is_root, is_outside=not is_root)
        levels = self._levels
        while levels:
            level = levels[-1]
            if not level.names:
                levels.pop()
                self._folders.release(level.folder)
                continue
            self._check()
            found = self._enter(level, level.names.pop())
            if found is not None:
                yield found

    def close(self) -> None:
        """Close every directory."""
        self._folders.close()

    def _enter(self, level: _Level, name: bytes) -> FilesDirectory | None:
        path = _join(level.folder.path, name)
        is_root = path in self._ways.roots
        is_whole = is_root or (level.is_whole and name not in level.passages)
        is_outside = level.is_outside and not is_root
        try:
            folder, status = self._folders.enter(
                level.folder, name, path, follows=is_outside, lists=is_whole
            )
        except OSError as error:
            self._report(path, reason(error))
            return None
        except EntryReplaced:
            self._report(path, REPLACED)
            return None
        if is_whole and not is_root and self._is_border(level.folder, folder):
            is_whole = False
        entry = entry_of(name, status)
        return self._hand_over(folder, entry, is_whole=is_whole, is_outside=is_outside)

    def _is_border(self, above: Folder, folder: Folder) -> bool:
        device = folder.device
        return device != above.device and (self._limits.one_file_system or device in self._kernel)

    def _hand_over(
        self, folder: Folder, entry: Entry, *, is_whole: bool, is_outside: bool
    ) -> FilesDirectory:
        has_content = folder.device not in self._kernel
        try:
            listing = self._contents(folder, has_content=has_content) if is_whole else None
            if listing is None:
                is_whole = False
                listing = self._ways_through(folder)
        finally:
            self._folders.done(folder)
        for inner, error in listing.faults:
            self._report(_join(folder.path, inner), reason(error))
        self._levels.append(_Level(folder, listing, is_whole=is_whole, is_outside=is_outside))
        return FilesDirectory(
            folder,
            self._folders,
            entry=entry,
            entries=listing.entries,
            has_content=has_content,
        )

    def _contents(self, folder: Folder, *, has_content: bool) -> Listing | None:
        """List a directory; None means that only what leads to further roots is kept of it."""
        if self._skipped and folder.identity in self._skipped:
            return Listing()
        if not folder.is_listable:
            self._report(folder.path, "permission denied")
            return None
        try:
            if self._looks_for_tags and (tag := self._tag_in(folder.descriptor)) is not None:
                return self._only_tag(folder, tag)
            wanted = self._wanted_in(folder.path, has_content=has_content)
            return list_folder(folder.descriptor, wanted, self._check)
        except OSError as error:
            self._report(folder.path, reason(error))
            return None

    def _wanted_in(self, path: bytes, *, has_content: bool) -> Wanted:
        named = self._ways.names.get(path)
        if not (self._rules or named) and has_content:
            return self._wanted
        return Wanted(
            tests=self._rules.tests_in(os.fsdecode(path)),
            largest_bytes=self._wanted.largest_bytes,
            has_content=has_content,
            named=named or (),
        )

    def _tag_in(self, descriptor: int) -> bytes | None:
        limits = self._limits
        return tag_in(descriptor, limits.tags, looks_for_cache_tag=limits.has_cache_tags)

    def _only_tag(self, folder: Folder, tag: bytes) -> Listing:
        """Return a tagged directory: its tag, and what leads to further roots."""
        listing = self._ways_through(folder)
        listing.passages.update(listing.folders)
        if all(entry.name != tag for entry in listing.entries):
            status = os.stat(tag, dir_fd=folder.descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                listing.entries.append(entry_of(tag, status))
                listing.entries.sort()
        return listing

    def _ways_through(self, folder: Folder) -> Listing:
        """Return only what is a root or leads to one."""
        listing = Listing()
        names = self._ways.names.get(folder.path)
        if not names:
            return listing
        for name in sorted(names, reverse=True):
            entry = self._root_file(folder, name)
            if entry is None:
                listing.folders.append(name)
            else:
                listing.entries.insert(0, entry)
        return listing

    def _root_file(self, folder: Folder, name: bytes) -> Entry | None:
        """Return the entry of a root that is no directory; what cannot be looked at fails later."""
        if _join(folder.path, name) not in self._ways.roots:
            return None
        try:
            status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
        except OSError:
            return None
        if stat.S_ISDIR(status.st_mode):
            return None
        entry = entry_of(name, status)
        is_view = folder.device in self._kernel
        return entry._replace(size_bytes=0, allocated_bytes=0) if is_view else entry


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + name if folder == b"/" else folder + b"/" + name


def _inodes(paths: tuple[bytes, ...]) -> frozenset[tuple[int, int]]:
    """Return device and inode of those directories that exist."""
    found: set[tuple[int, int]] = set()
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116  # bytes
        except OSError:
            continue  # What is not there cannot be entered either.
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)
