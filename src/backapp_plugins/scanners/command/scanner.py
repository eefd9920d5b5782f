"""A scan that finds one file: made up, but for the content that a command or a pipe delivers."""

import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import (
    Entry,
    EntryVanished,
    FoundDirectory,
    InputError,
    OpenedFile,
    Scanner,
    Surroundings,
    WholeFile,
    to_text,
)
from backapp_plugins.scanners.command.settings import CommandSettings
from backapp_plugins.scanners.command.sources import Command, Source, StandardInput
from backapp_plugins.scanners.command.stream import Stream

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FILE_MODE = stat.S_IFREG | 0o600
"""Dumps of databases are not for everybody."""
_FOLDER_MODE = stat.S_IFDIR | 0o755


@final
class CommandScanner(Scanner):
    """Finds the one file that the settings name, and the folders on the way to it."""

    has_streams = True

    def __init__(self, settings: CommandSettings, surroundings: Surroundings) -> None:
        self.roots = (_path_in(settings),)
        self._source = _source_in(settings)
        self._surroundings = surroundings

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        self._surroundings.cancel.check()
        return self._scan()

    def _scan(self) -> Iterator[FoundDirectory]:
        now = self._surroundings.clock.now()
        now_ns = (now - _EPOCH) // timedelta(microseconds=1) * 1000
        folder, _, name = self.roots[0].rpartition(b"/")
        for path in _ancestors(folder):
            yield _Folder(path, now_ns)
        file = _made_up(name, _FILE_MODE, now_ns)
        yield _FolderOfFile(folder or b"/", now_ns, file, self._source, self._surroundings)

    @override
    def user_name(self, uid: int) -> str:
        import pwd

        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return ""

    @override
    def group_name(self, gid: int) -> str:
        import grp

        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return ""

    @property
    @override
    def problems(self) -> int:
        return 0


class _Folder(FoundDirectory):
    """A folder on the way to the file; what this machine says of it, if it is there."""

    entries: Sequence[Entry] = ()

    def __init__(self, path: bytes, now_ns: int) -> None:
        self.path = path
        self.entry = _folder_entry(path, now_ns)

    @override
    def open(self, entry: Entry) -> OpenedFile:
        raise EntryVanished(f"there is no {to_text(entry.name)} in {to_text(self.path)}")

    @override
    def attributes(self, entry: Entry | None) -> tuple[tuple[bytes, bytes], ...]:
        return ()

    @override
    def link_target(self, entry: Entry) -> bytes:
        raise EntryVanished(f"there is no link {to_text(entry.name)} in {to_text(self.path)}")

    @override
    def close(self) -> None:
        """Nothing is held."""


@final
class _FolderOfFile(_Folder):
    def __init__(
        self, path: bytes, now_ns: int, file: Entry, source: Source, surroundings: Surroundings
    ) -> None:
        super().__init__(path, now_ns)
        self.entries = (file,)
        self._source = source
        self._cancel = surroundings.cancel

    @override
    def open(self, entry: Entry) -> OpenedFile:
        if entry not in self.entries:
            return super().open(entry)
        return Stream(entry, self._source.start(), self._cancel)

    @override
    def read_whole(self, entry: Entry, most_bytes: int) -> WholeFile | None:
        return None  # opening it just to find out would run the command


def _path_in(settings: CommandSettings) -> bytes:
    if len(settings.roots) != 1:
        raise InputError(
            "what a command prints becomes one file; name one path for it in the snapshot"
        )
    path = settings.roots[0]
    first, *names = path.split(b"/")
    if first or not names or {b"", b".", b".."} & set(names) or b"\0" in path:
        raise InputError(
            f"'{to_text(path)}' is no path for a file in the snapshot; "
            "give an absolute one such as /stdin or /dumps/mail.sql"
        )
    return path


def _source_in(settings: CommandSettings) -> Source:
    if settings.reads_stdin == bool(settings.command):
        raise InputError("name a command to run, or say that standard input is to be read")
    if settings.reads_stdin:
        return StandardInput()
    if not settings.command[0] or any(b"\0" in word for word in settings.command):
        raise InputError("a command has a name, and no NUL byte in its arguments")
    return Command(settings.command)


def _ancestors(folder: bytes) -> Iterator[bytes]:
    """Yield what is above ``folder``, from the root on."""
    if folder:
        yield b"/"
    for end in range(1, len(folder)):
        if folder[end : end + 1] == b"/":
            yield folder[:end]


def _folder_entry(path: bytes, now_ns: int) -> Entry:
    """Return the facts of a folder; those that stand in snapshots do, and others are made up."""
    name = path.rpartition(b"/")[2] or b"/"
    try:
        facts = os.lstat(path)
    except OSError:
        return _made_up(name, _FOLDER_MODE, now_ns)
    if not stat.S_ISDIR(facts.st_mode):
        return _made_up(name, _FOLDER_MODE, now_ns)
    return _made_up(name, facts.st_mode, facts.st_mtime_ns)._replace(
        uid=facts.st_uid, gid=facts.st_gid
    )


def _made_up(name: bytes, mode: int, changed_ns: int) -> Entry:
    return Entry(
        name=name,
        mode=mode,
        uid=os.geteuid(),
        gid=os.getegid(),
        size_bytes=0,
        mtime_ns=changed_ns,
        ctime_ns=changed_ns,
        inode=0,
        device=0,
        links=1,
        rdev=0,
        allocated_bytes=0,
    )
