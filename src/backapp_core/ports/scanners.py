"""Scanners say what is there, directory by directory, in a fixed order."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from attrs import frozen
from typing_extensions import override

from backapp_core.model.entries import Entry, Extent
from backapp_core.ports.closing import Closing
from backapp_core.ports.surroundings import Surroundings


class OpenedFile(Closing):
    """Content of one regular file, opened for reading once; a context manager.

    Used by one thread at a time.
    """

    entry: Entry
    """The facts when the file was opened, which may be newer than what the scan saw."""
    is_stream: bool = False
    """Whether its length shows only at its end: ``entry.size_bytes`` says nothing then, and it is
    read once, from the beginning, without gaps."""

    @abstractmethod
    def extents(self) -> Sequence[Extent] | None:
        """Return the data stretches of a file with holes, None for a file without.

        They ascend, do not touch, and lie within ``entry.size_bytes``.
        """

    @abstractmethod
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        """Return ``length_bytes`` from ``offset``; fewer only where the file ends before that.

        Raises:
            EntryUnreadable: If the medium fails.
            CommandFailed: Instead of returning the end of a stream that is not what it should be;
                no snapshot may hold the part that came before.
        """

    @abstractmethod
    def has_changed(self) -> bool:
        """Say whether size, mtime or ctime differ from `entry` by now."""

    @override
    @abstractmethod
    def close(self) -> None:
        """Give the file back; closing twice is fine."""


class WholeFile(NamedTuple):
    """A small regular file, read in one go."""

    entry: Entry
    """The facts when it was opened."""
    content: bytes
    attributes: tuple[tuple[bytes, bytes], ...] | None
    """Its extended attributes, as `FoundDirectory.attributes` has them; None if they could not be
    read on the way."""
    has_changed: bool
    """Whether size, mtime or ctime differed from ``entry`` when it had been read."""


class FoundDirectory(Closing):
    """One directory, whole: its own facts and all its entries that are not directories.

    It stays usable until `close` is called, also when the scan has come to its end, unless the scan
    failed or was given up before; several may be open at once. Names are looked up relative to the
    directory that was listed, never by path, so that a directory swapped for a link meanwhile leads
    nowhere else.
    """

    path: bytes
    """Absolute."""
    entry: Entry
    """The directory itself."""
    entries: Sequence[Entry]
    """Everything in it that is kept and no directory, in byte order of names. May be set to another
    sequence of the same entries by who keeps the directory for later."""

    @abstractmethod
    def open(self, entry: Entry) -> OpenedFile:
        """Open a regular file of `entries` without following links and without ever blocking.

        Raises:
            EntryVanished: If it is gone.
            EntryReplaced: If it is no regular file any more.
            EntryUnreadable: If it may not be read or the medium fails.
        """

    def read_whole(self, entry: Entry, most_bytes: int) -> WholeFile | None:
        """Open, read and close a regular file of `entries`; None if that takes more than one read.

        The same as `open` and what follows it. Scanners override it because most files are small,
        and for them the way to the content costs more than the content.

        Args:
            entry: What is read.
            most_bytes: Larger files are left alone.

        Raises:
            EntryVanished: If it is gone.
            EntryReplaced: If it is no regular file any more.
            EntryUnreadable: If it may not be read or the medium fails.
        """
        with self.open(entry) as file:
            size_bytes = file.entry.size_bytes
            if file.is_stream or size_bytes > most_bytes:
                return None
            content = file.read_at(0, size_bytes)
            return WholeFile(file.entry, content, None, file.has_changed())

    @abstractmethod
    def attributes(self, entry: Entry | None) -> tuple[tuple[bytes, bytes], ...]:
        """Return name and value of each extended attribute of ``entry``, names in byte order.

        None stands for the directory itself.

        Raises:
            EntryVanished: If it is gone.
            EntryUnreadable: If they may not be read.
        """

    @abstractmethod
    def link_target(self, entry: Entry) -> bytes:
        """Return where a symlink of `entries` points.

        Raises:
            EntryVanished: If it is gone.
            EntryReplaced: If it is no symlink any more.
            EntryUnreadable: If it may not be read.
        """

    @override
    @abstractmethod
    def close(self) -> None:
        """Give the directory back; closing twice is fine."""


class Scanner(ABC):
    """Walks what a job names as its sources."""

    roots: tuple[bytes, ...]
    """Absolute paths, in scan order, none inside another.

    Those that did not exist when the scanner was made are left out, unless all are missing: a
    snapshot that lacks one must not be taken for a newer state of it.
    """
    has_streams: bool = False
    """Whether files of it may be streams, which not every repository takes.

    Their content is made while it is read, so nobody knows before how much it is; their entries
    have other times in every scan, for they are never unchanged.
    """

    began_at: datetime | None = None
    """Since when facts that `scan` hands over were looked up, if before it was called.

    A snapshot is as old as that: what changed since may be in it or not.
    """
    is_read_elsewhere: bool = False
    """Whether what was found can be pickled, and then read by another process of this machine.

    There `FoundDirectory.read_whole` gives what it would give here, and needs nothing but the
    pickled directory and an entry. What fails there may succeed here.
    """

    @abstractmethod
    def scan(self) -> Iterator[FoundDirectory]:
        """Walk all roots once and hand over one directory after another.

        A directory comes before everything below it, and siblings come in byte order of their
        names. The ancestors of a root come first, with no entries but the roots in them (a root
        that is a file is an entry of its parent). No path comes twice. So the order is that of
        `model.entries.path_key`.

        Whatever is there but cannot be listed or examined is reported to the surroundings' events
        as one `Problem` with its path and is left out, or, if it is a directory, handed over
        without entries. A scan holds as many entries in memory as the directories on the way from
        the root to the present one have. It may run in any one thread. It ends early with
        `RunCancelled` if the surroundings say so.

        Raises:
            SourceNotFound: Before anything is handed over, if none of the roots exists.
            RunCancelled: If the run is cancelled.
        """

    @abstractmethod
    def user_name(self, uid: int) -> str:
        """Return the name of ``uid`` on this machine, empty if it has none."""

    @abstractmethod
    def group_name(self, gid: int) -> str:
        """Return the name of ``gid`` on this machine, empty if it has none."""

    @property
    @abstractmethod
    def problems(self) -> int:
        """How many problems the last scan has reported so far."""


@frozen
class ScannerKind:
    """A sort of scanner that a plugin offers."""

    name: str
    settings: type[Any]
    """An attrs class; a job's scanner settings are parsed into it."""
    open: Callable[[Any, Surroundings], Scanner]
    """Makes a scanner from an instance of `settings`.

    Raises:
        InputError: If the settings name no source or hold a malformed pattern.
    """
