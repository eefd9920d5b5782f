"""Targets are where a restore writes.

Archivers restore into one in whatever order suits their format.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from backapp_core.model.entries import Node


class Selection(Protocol):
    """Which nodes of a snapshot are wanted."""

    def wants(self, node: Node) -> bool:
        """Say whether ``node`` itself is wanted."""
        ...

    def enters(self, path: bytes) -> bool:
        """Say whether anything at or below the directory ``path`` can be wanted.

        False lets whole subtrees be skipped.
        """
        ...


class Everything:
    """The selection that wants all."""

    def wants(self, node: Node) -> bool:
        """Say yes."""
        del node
        return True

    def enters(self, path: bytes) -> bool:
        """Say yes."""
        del path
        return True


class TargetFile(ABC):
    """A file that is being restored under a temporary name.

    Pieces may be written at any offset, in any order, by several threads; what is not written is a
    hole. Used as a context manager it is abandoned unless it was finished.
    """

    @abstractmethod
    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of ``data`` at ``offset``.

        Raises:
            TargetError: If the place of the restore has no room or fails; ends the restore unless
                it is an `EntryNotRestored`, which concerns this file alone.
        """

    @abstractmethod
    def finish(self) -> None:
        """Give it its size and metadata, then its final name.

        Call it only after the content was verified.

        Raises:
            EntryNotRestored: If that failed; the temporary file is gone.
            TargetError: If the place of the restore has no room left or fails.
        """

    @abstractmethod
    def abandon(self, reason: str) -> None:
        """Remove it and count its path as not restored; harmless after `finish`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon(str(error) if error else "was not completed")


class NewFile(NamedTuple):
    """What of a node a `FileMaker` needs to know; a tuple, for it is pickled for every file."""

    name: bytes
    """Last part of the path."""
    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime_ns: int
    xattrs: tuple[tuple[bytes, bytes], ...]


class Lack(NamedTuple):
    """What a file has not got that was made all the same."""

    fault: str
    """What could not be given, in words; empty if nothing."""
    is_withheld: bool
    """Whether privileges were left away on purpose."""


class FileMaker(ABC):
    """Makes small files of a restore in another process of this machine, where it comes pickled.

    It knows directories by their descriptors alone, so nothing is ever looked up by a path there.
    Used by one thread at a time.
    """

    @abstractmethod
    def begin(self) -> None:
        """Get ready in the process that makes files; that one's umask is cleared."""

    @abstractmethod
    def make(self, folder: int, file: NewFile, content: bytes) -> Lack | None:
        """Make a file whole: content, metadata, and its final name last.

        Args:
            folder: Descriptor of the directory, which is that of an `Errand`.
            file: What is made.
            content: All of it, verified; what it is shorter than the file is a hole.

        Returns:
            What it lacks, None if nothing.

        Raises:
            EntryNotRestored: If it was not made; nothing of it is there.
            TargetError: If it was not made because there is no room left or the disk fails.
        """


class Errand(ABC):
    """Files of one directory that another process makes; ends with `settle` or `reclaim`.

    The directory stays open until then.
    """

    files: Sequence[NewFile]
    """In the order of the nodes."""

    @property
    @abstractmethod
    def folder(self) -> int:
        """Descriptor of the directory, for the other process."""

    @abstractmethod
    def settle(self, unmade: Collection[int], lacks: Mapping[int, Lack]) -> None:
        """Count and report what was made.

        Args:
            unmade: Numbers of the files that were not; they may be asked of `Target.file`.
            lacks: What files lack that were made, by their numbers.
        """

    @abstractmethod
    def reclaim(self) -> None:
        """Take all files back from a process that has ended without an answer.

        Whatever it left of them is removed; they may be asked of `Target.file`.

        Raises:
            TargetError: If the directory cannot be looked at any more.
        """


class Target(ABC):
    """Receives nodes. Calls come from one thread, but files may be written and finished by several.

    Order: directories and files in any order in which no node comes before the directory above it;
    then `links_follow` once; then symlinks, hard links and special files; then `close`, which gives
    directories their metadata, the deepest first. A node that cannot be restored is reported as one
    `Problem`, counted, and skipped; only what makes the rest meaningless (no room left, the target
    itself is gone) is raised, as `TargetError`. Nodes are written at the target's root plus the
    node's full path; no path, link or race leads outside.
    """

    @abstractmethod
    def directory(self, node: Node) -> None:
        """Make a directory, writable for us until `close`.

        An existing real directory is used as it is.
        """

    @abstractmethod
    def file(self, node: Node) -> TargetFile | None:
        """Begin a regular file and return it.

        The answer is None if what is there stays by the policy for existing files, or if the file
        cannot be begun, which is reported.
        """

    def file_maker(self) -> FileMaker | None:
        """Return what makes files of this restore in another process, None if only this one may."""
        return None

    def hand_over(self, nodes: Sequence[Node]) -> Errand | None:
        """Begin regular files that another process makes, all of them in one directory.

        The answer is None if they have to be made here, with `file`, which also says what is wrong
        with them.
        """
        del nodes
        return None

    @abstractmethod
    def links_follow(self) -> None:
        """Say that all regular files are finished and that links and special files come next."""

    @abstractmethod
    def link(self, node: Node, existing: bytes) -> None:
        """Make ``node.path`` another name of the file that was restored as ``existing``."""

    @abstractmethod
    def special(self, node: Node) -> None:
        """Make a symlink, fifo, socket or device."""

    @abstractmethod
    def close(self) -> None:
        """Give directories their metadata and let go.

        After an error in between it only cleans up temporary files.
        """
