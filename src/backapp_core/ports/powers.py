"""What only some repositories can do; whoever wants it asks with ``isinstance``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from backapp_core.model.copies import SnapshotCopy
from backapp_core.model.repairs import IndexRepair, PackRepair, SnapshotRepair
from backapp_core.model.repositories import ContentStats, KeyInfo
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository


@runtime_checkable
class CanRepair(Protocol):
    """A repository that knows more ways to become whole again than another backup.

    Repairs add and delete nothing that somebody may still want: what is damaged stays where it is
    until a clean-up, snapshots stay unless they are asked to go. Killed at any point, a repair
    leaves a repository that is no worse, and repeating it completes it. With ``is_dry`` the answer
    is the same and nothing is changed.

    Methods raise `RepositoryLocked` if another process uses the repository, and `AccessRefused` if
    nothing may be deleted there.
    """

    def repair_index(self, *, reads_all_packs: bool = False, is_dry: bool = False) -> IndexRepair:
        """Make what says where content is agree with what is there.

        With ``reads_all_packs`` none of what it says is believed.
        """
        ...

    def repair_packs(self, names: Sequence[str], *, is_dry: bool = False) -> Sequence[PackRepair]:
        """Copy what can be read of damaged objects to new ones, and use the old ones no more.

        Raises:
            InputError: If a name, or the beginning of one, names no object of content.
        """
        ...

    def repair_snapshots(
        self, snapshots: Sequence[Snapshot], *, forgets: bool = False, is_dry: bool = False
    ) -> Sequence[SnapshotRepair]:
        """Make new snapshots out of those of which parts are lost, without these parts.

        With ``forgets`` the former ones are removed.

        Raises:
            DamagedRepository: If the index has to be repaired before.
        """
        ...

    def recover(self) -> Snapshot | None:
        """Make a snapshot of all directories that are stored and that no snapshot leads to.

        Return None if there are none.
        """
        ...


@runtime_checkable
class CanCopy(Protocol):
    """A repository into which snapshots of another of its kind can be copied."""

    def copy_from(
        self, source: Repository, snapshots: Sequence[Snapshot]
    ) -> Sequence[SnapshotCopy]:
        """Copy ``snapshots`` of ``source`` unless they were before, and say what stands for each.

        Each is listed once all it needs is there. Only what is not there yet is sent.

        Raises:
            InputError: If the source is of another kind, or this repository is only read.
            DamagedRepository: If what a snapshot needs is lost.
            RepositoryLocked: If another process excludes this.
        """
        ...

    def twin_options(self) -> Mapping[str, object]:
        """Return what the settings of a new repository have to say so that it is cut alike.

        Files that both then store are copied from one to the other without being sent.
        """
        ...


@runtime_checkable
class CanCountContent(Protocol):
    """A repository that knows which files and snapshots share what."""

    def content_stats(self, snapshots: Sequence[Snapshot]) -> ContentStats:
        """Count what ``snapshots`` hold, the same content once.

        Raises:
            DamagedRepository: If what describes them is missing or altered.
        """
        ...


@runtime_checkable
class CanShowObjects(Protocol):
    """A repository whose objects somebody may want to look into."""

    def show(self, sort: str, name: str = "") -> Iterator[bytes]:
        """Yield an object, opened and as people read it, or a part that content is stored in.

        ``sort`` is the archiver's word for what it is, ``name`` its id or the beginning of one.

        Raises:
            InputError: If the sort is none, or the name means nothing or several objects.
            DamagedRepository: If it is altered.
        """
        ...


@runtime_checkable
class CanUnlock(Protocol):
    """A repository whose locks can be removed by somebody who knows better."""

    def unlock(self, *, removes_all: bool = False) -> Sequence[str]:
        """Remove the locks of dead processes, or all, and return the names of those removed."""
        ...


@runtime_checkable
class HasKeys(Protocol):
    """A repository that several passwords open; a key is what one of them opens.

    Methods raise `RepositoryLocked` if another process excludes them.
    """

    def keys(self) -> Sequence[KeyInfo]:
        """Return all keys, the oldest first; one that cannot be read is reported and left out."""
        ...

    def add_key(self, password: str) -> KeyInfo:
        """Let another password open the repository, too.

        Raises:
            InputError: If the password is empty.
        """
        ...

    def remove_key(self, name: str) -> None:
        """Let a password open it no more; ``name`` is the id of its key or the beginning of one.

        Raises:
            InputError: If it means no key or several, or the one in use.
        """
        ...

    def change_password(self, password: str) -> KeyInfo:
        """Let another password open it instead of the one that did now.

        Raises:
            InputError: If the password is empty.
        """
        ...
