"""Walks the scan, decides what is unchanged, and writes tar entries and manifest lines."""

from collections.abc import Iterator
from typing import final

import msgspec

from backapp_core.plugin_api import (
    Entry,
    EntryKind,
    FileDone,
    FoundDirectory,
    OpenedFile,
    Problem,
    Progress,
    Scanner,
    SourceError,
    Surroundings,
    Verb,
    child_path,
    to_text,
)
from backapp_plugins.archivers.targz import tar_headers
from backapp_plugins.archivers.targz.archive_writer import ArchiveWriter
from backapp_plugins.archivers.targz.changes import Changes
from backapp_plugins.archivers.targz.comparing import (
    Inode,
    facts,
    fingerprint,
    inode_of,
    is_as_before,
    is_same,
    is_unchanged,
)
from backapp_plugins.archivers.targz.file_store import FileStore, Tally
from backapp_plugins.archivers.targz.manifest import (
    BYTES_PER_BLOCK,
    ENTRIES_PER_BLOCK,
    DirLine,
    EntryLine,
    MoreLine,
    weight_of,
)
from backapp_plugins.archivers.targz.manifest_writer import ManifestWriter
from backapp_plugins.archivers.targz.nodes import (
    xattrs_to_plain,
)
from backapp_plugins.archivers.targz.parent import OldDirectory, ParentWalk

_RACY_NS = 2_000_000_000
"""A file that changed so shortly before it was read may change again without its times telling."""
_PROGRESS_SECONDS = 0.1


@final
class _Content:
    """Where the content of an inode went, for its further names."""

    __slots__ = ("is_stored", "line", "path")

    def __init__(self, line: EntryLine, path: bytes, *, is_stored: bool) -> None:
        self.line = line
        self.path = path
        self.is_stored = is_stored
        """Whether this run's archive has it, and not an older one."""


@final
class Collector:
    """Drives one scan; used by one thread."""

    def __init__(
        self,
        scanner: Scanner,
        surroundings: Surroundings,
        parent: ParentWalk,
        archive: ArchiveWriter,
        manifest: ManifestWriter,
        *,
        archive_number: int,
        rereads_all: bool,
        expected: tuple[int, int] | None,
        reports_files: bool,
    ) -> None:
        self._scanner = scanner
        self._surroundings = surroundings
        self._parent = parent
        self._archive = archive
        self._manifest = manifest
        self._archive_number = archive_number
        self.tally = Tally()
        self._files = FileStore(
            surroundings, archive, archive_number=archive_number, tally=self.tally
        )
        self._rereads_all = rereads_all
        self._expected = expected
        self._reports_files = reports_files
        self._contents: dict[Inode, _Content] = {}
        self._progress_at = 0.0
        self._racy_from_ns = 0
        self._flags: tuple[str, ...] = ()
        self.changes = Changes(scanner.roots)

    def run(self) -> None:
        """Walk the whole scan and end the manifest; the archive is ended by the caller."""
        for found in self._scanner.scan():
            with found:
                self._surroundings.cancel.check()
                self._archive.require_receiver()
                self._directory(found)
                self._show(found.path)
        self.changes.leave(self._parent)
        self._manifest.finish()
        self._show(b"", is_last=True)

    def _directory(self, found: FoundDirectory) -> None:
        self.tally.directories += 1
        self._manifest.begin_directory()
        seen = fingerprint(found)
        old = self._parent.enter(found.path)
        if old and seen and old.head.seen == seen and not self._rereads_all:
            self._copy(found, old)
            return
        looked_at = self._scanner.began_at or self._surroundings.clock.now()
        self._racy_from_ns = int(looked_at.timestamp() * 1e9) - _RACY_NS
        problems = self.tally.problems
        head = self._head(found, old)
        self.changes.see_directory(found.path, old, head)
        lines: list[EntryLine] = []
        block: DirLine | MoreLine = head
        is_settled = head.ctime < self._racy_from_ns
        weight = 0
        for entry, line in self._lines(found, old):
            # A line that tells of another moment than the listing would be copied as if it did not.
            is_of_listing = line.ctime == entry.ctime_ns and line.ino == entry.inode
            is_settled = is_settled and is_of_listing and not line.racy and not line.flags
            lines.append(line)
            if line.xattrs or line.extents or line.target:
                weight += weight_of(line)
            if len(lines) == ENTRIES_PER_BLOCK or weight >= BYTES_PER_BLOCK:
                self._manifest.add(block, lines)
                block, lines, weight = MoreLine(more=head.dir), [], 0
        if block is head:
            # Only a directory that fits into one block, had no trouble and was long at rest may be
            # copied unseen next time.
            head.seen = seen if is_settled and problems == self.tally.problems else ""
        if lines or block is head:
            self._manifest.add(block, lines)

    def _copy(self, found: FoundDirectory, old: OldDirectory) -> None:
        self._manifest.copy(old.first)
        self.tally.files_unmodified += old.head.files
        self.tally.others += old.head.entries - old.head.files
        self.tally.processed_bytes += old.head.file_bytes
        for entry in found.entries if self._reports_files else ():
            if entry.kind is EntryKind.FILE:
                self._name(child_path(found.path, entry.name), "unmodified", entry.size_bytes)

    def _name(self, path: bytes, action: str, size_bytes: int) -> None:
        if self._reports_files:
            self._surroundings.events(FileDone(Verb.BACKUP, path, action, size_bytes))

    def _lines(
        self, found: FoundDirectory, old: OldDirectory | None
    ) -> Iterator[tuple[Entry, EntryLine]]:
        for entry in found.entries:
            known = old.find(entry.name) if old else None
            line = self._entry(found, entry, known)
            self.changes.see(known, line)
            if line is not None:
                yield entry, line
        self.changes.leave(old)

    def _head(self, found: FoundDirectory, old: OldDirectory | None) -> DirLine:
        entry = found.entry
        xattrs = self._attributes(found, None)
        user, group = self._owner(entry)
        head = DirLine(
            dir=to_text(found.path),
            mode=entry.mode & 0o7777,
            uid=entry.uid,
            gid=entry.gid,
            user=user,
            group=group,
            mtime=entry.mtime_ns,
            ctime=entry.ctime_ns,
            ino=entry.inode,
            dev=entry.device,
            links=entry.links,
            xattrs=xattrs_to_plain(xattrs),
        )
        if old is None or facts(old.head) != facts(head):
            is_above = old is not None and self.changes.is_above(found.path)
            write = self._archive.hold_back if is_above else self._archive.write
            write(
                tar_headers.header(
                    found.path,
                    entry,
                    kind=EntryKind.DIRECTORY,
                    user=user,
                    group=group,
                    xattrs=xattrs,
                )
            )
        return head

    def _entry(
        self, found: FoundDirectory, entry: Entry, old: EntryLine | None
    ) -> EntryLine | None:
        kind = entry.kind
        is_known = old is not None and not self._rereads_all and is_unchanged(old, kind, entry)
        try:
            if kind is EntryKind.FILE:
                return self._file(found, entry, old, is_known=is_known)
            self.tally.others += 1
            if old is not None and is_known:
                old.dev = entry.device
                return old
            return self._special(found, entry, kind, old)
        except SourceError as error:
            self._report(child_path(found.path, entry.name), error.message)
            return None

    def _special(
        self, found: FoundDirectory, entry: Entry, kind: EntryKind, old: EntryLine | None
    ) -> EntryLine:
        target = found.link_target(entry) if kind is EntryKind.SYMLINK else b""
        xattrs = self._attributes(found, entry)
        line = self._line(entry, kind, xattrs)
        line.target = to_text(target)
        line.rdev = entry.rdev
        line.racy = entry.ctime_ns >= self._racy_from_ns
        line.flags = self._flags
        path = child_path(found.path, entry.name)
        content = self._contents.get(inode_of(entry)) if entry.links > 1 else None
        # What was only looked at again is in an older archive.
        if kind is EntryKind.SOCKET or (old is not None and is_as_before(old, line)):
            return line
        self._archive.write(
            tar_headers.header(
                path,
                entry,
                kind=kind,
                user=line.user,
                group=line.group,
                link_target=content.path if content else target,
                is_hard_link=content is not None,
                xattrs=xattrs,
            )
        )
        if entry.links > 1 and content is None:
            self._contents[inode_of(entry)] = _Content(line, path, is_stored=True)
        return line

    def _file(
        self, found: FoundDirectory, entry: Entry, old: EntryLine | None, *, is_known: bool
    ) -> EntryLine | None:
        if entry.links > 1 and (content := self._contents.get(inode_of(entry))):
            return self._further_name(found, entry, old, content, is_known=is_known)
        if old is not None and is_known:
            old.dev = entry.device
            self.tally.files_unmodified += 1
            self.tally.processed_bytes += old.size
            self._name(child_path(found.path, entry.name), "unmodified", old.size)
            if entry.links > 1:
                path = child_path(found.path, entry.name)
                self._contents[inode_of(entry)] = _Content(old, path, is_stored=False)
            return old
        with found.open(entry) as file:
            line = self._read(found, entry.name, file, old)
        self._count(child_path(found.path, entry.name), line, old)
        if entry.links > 1:
            is_stored = line.at is None or line.at[0] == self._archive_number
            path = child_path(found.path, entry.name)
            self._contents[inode_of(file.entry)] = _Content(line, path, is_stored=is_stored)
        return line

    def _further_name(
        self,
        found: FoundDirectory,
        entry: Entry,
        old: EntryLine | None,
        content: _Content,
        *,
        is_known: bool,
    ) -> EntryLine:
        first = content.line
        line = msgspec.structs.replace(first, name=to_text(entry.name), links=entry.links)
        is_there = old is not None and old.at == line.at and is_as_before(old, line)
        if (content.is_stored or not is_known) and not is_there:
            # If the content is in an older archive, the first name is there, too.
            self._archive.write(
                tar_headers.header(
                    child_path(found.path, entry.name),
                    entry,
                    kind=EntryKind.FILE,
                    user=line.user,
                    group=line.group,
                    link_target=content.path,
                    is_hard_link=True,
                )
            )
        if is_known:
            self.tally.files_unmodified += 1
            self.tally.processed_bytes += line.size
            self._name(child_path(found.path, entry.name), "unmodified", line.size)
        else:
            self._count(child_path(found.path, entry.name), line, old)
        return line

    def _count(self, path: bytes, line: EntryLine, old: EntryLine | None) -> None:
        if old is None:
            action = "new"
            self.tally.files_new += 1
        elif is_same(old, line):
            action = "unmodified"
            self.tally.files_unmodified += 1
        else:
            action = "changed"
            self.tally.files_changed += 1
        self.tally.processed_bytes += line.size
        self._name(path, action, line.size)

    def _read(
        self, found: FoundDirectory, name: bytes, file: OpenedFile, old: EntryLine | None
    ) -> EntryLine:
        # What was opened is what counts: it may have changed since it was listed.
        entry = file.entry._replace(name=name)
        xattrs = self._attributes(found, entry)
        line = self._line(entry, EntryKind.FILE, xattrs)
        line.racy = entry.ctime_ns >= self._racy_from_ns
        line.flags = self._flags
        path = child_path(found.path, name)
        for _ in self._files.store(file, path, line, old, xattrs):
            self._show(path)
        if line.size != entry.size_bytes or file.has_changed():
            line.flags = (*line.flags, "changed")
            self._report(path, "changed while it was read; what was read is kept")
        return line

    def _line(
        self, entry: Entry, kind: EntryKind, xattrs: tuple[tuple[bytes, bytes], ...]
    ) -> EntryLine:
        user, group = self._owner(entry)
        return EntryLine(
            name=to_text(entry.name),
            type=kind.value,
            mode=entry.mode & 0o7777,
            uid=entry.uid,
            gid=entry.gid,
            user=user,
            group=group,
            mtime=entry.mtime_ns,
            ctime=entry.ctime_ns,
            ino=entry.inode,
            dev=entry.device,
            links=entry.links,
            xattrs=xattrs_to_plain(xattrs),
        )

    def _owner(self, entry: Entry) -> tuple[str, str]:
        return self._scanner.user_name(entry.uid), self._scanner.group_name(entry.gid)

    def _attributes(
        self, found: FoundDirectory, entry: Entry | None
    ) -> tuple[tuple[bytes, bytes], ...]:
        self._flags = ()
        try:
            return found.attributes(entry)
        except SourceError as error:
            # The flag makes the next backup look again, and tell again.
            self._flags = ("unreadable",)
            path = found.path if entry is None else child_path(found.path, entry.name)
            self._report(path, error.message)
            return ()

    def _report(self, path: bytes, reason: str) -> None:
        self.tally.problems += 1
        self._surroundings.events(Problem(Verb.BACKUP, path, reason))

    def _show(self, path: bytes, *, is_last: bool = False) -> None:
        now = self._surroundings.clock.monotonic_seconds()
        if now - self._progress_at < _PROGRESS_SECONDS and not is_last:
            return
        self._progress_at = now
        tally = self.tally
        files, total_bytes = self._expected or (None, None)
        self._surroundings.events(
            Progress(
                Verb.BACKUP,
                files_done=tally.files_new + tally.files_changed + tally.files_unmodified,
                bytes_done=tally.processed_bytes + tally.streamed_bytes,
                files_total=files,
                bytes_total=total_bytes,
                current=path,
                problems=tally.problems + self._scanner.problems,
            )
        )
