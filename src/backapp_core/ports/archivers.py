"""Archivers turn entries into stored objects and back; what they open is a repository."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen
from typing_extensions import override

from backapp_core.model.entries import Node
from backapp_core.model.grants import ObjectSort
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import (
    CheckReport,
    CleanUpOptions,
    CleanUpPlan,
    RemovalPlan,
    RepositoryInfo,
    RepositoryStats,
)
from backapp_core.model.snapshots import Counts, Snapshot
from backapp_core.model.subsets import DataSubset
from backapp_core.ports.closing import Closing
from backapp_core.ports.scanners import Scanner
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.targets import Everything, Selection, Target
from backapp_core.ports.transports import Transport


@frozen
class BackupResult:
    """What a backup left behind."""

    snapshot: Snapshot
    """The new one; where none was made, the one that the sources were found to be as in."""
    objects: tuple[tuple[str, int], ...]
    """Name and size in bytes of every object that was written, in the order of writing; receipts
    name them."""
    unsaved: Counts | None = None
    """What was counted where no snapshot was made; None where one was, and has its own."""

    @property
    def is_skipped(self) -> bool:
        """Whether nothing had changed, so that no snapshot was made."""
        return self.unsaved is not None

    @property
    def counts(self) -> Counts:
        """What this backup saw, read and stored."""
        return self.snapshot.counts if self.unsaved is None else self.unsaved


class Repository(Closing):
    """An opened repository: snapshots and what they need, at one transport.

    Any number of backups may run at once, in this and other processes. Removal and clean-up exclude
    everything else by a lock at the transport; a lock whose holder is known to be dead, or that
    was not refreshed for long, does not count. Whatever cannot have its lock waits for it as long
    as the surroundings say (`once_free`), with nothing done, and then raises `RepositoryLocked`.
    Methods may be called from any thread, one at a time. Besides what is listed, every method
    raises `TransportError` when the destination fails and `RunCancelled` when the surroundings say
    so.

    Whatever is interrupted, at any point: snapshots acknowledged before stay restorable, no
    snapshot is listed that is not complete, and the next call works without anybody's help.
    """

    info: RepositoryInfo
    takes_streams: bool = False
    """Whether `backup` takes what a scanner with streams finds; the engine hands it to no other."""

    @abstractmethod
    def backup(self, scanner: Scanner, options: BackupOptions) -> BackupResult:
        """Back up what ``scanner`` finds.

        The snapshot is listed exactly when this has returned or is about to. If the options skip
        what is unchanged, and everything below the roots is what it is in the snapshot compared
        with, the roots included, no snapshot is made and no object is written but what that
        snapshot lacks. Folders above the roots do not count.

        Entries that cannot be read are reported as `Problem` events and counted; they never end the
        run.

        Raises:
            SourceNotFound: If none of the roots exists.
            CommandFailed: If a stream does not come to a good end.
            RepositoryLocked: If somebody removes or cleans up meanwhile.
        """

    @abstractmethod
    def snapshots(self) -> Sequence[Snapshot]:
        """Return all snapshots, oldest first.

        A record that cannot be read is reported as a warning event and left out.
        """

    @abstractmethod
    def nodes(self, snapshot: Snapshot, selection: Selection = Everything()) -> Iterator[Node]:
        """Yield the selected nodes: a directory before what is below it, in a fixed order, lazily.

        Within a directory all that is no directory comes first, then each subdirectory with
        everything in it, both in byte order. The same tree gives the same order in every snapshot.

        Raises:
            DamagedRepository: If what describes the snapshot is missing or altered.
        """

    @abstractmethod
    def read(self, snapshot: Snapshot, node: Node) -> Iterator[bytes]:
        """Yield the content of one regular file, verified; holes come as zeros.

        Raises:
            DamagedRepository: As soon as what was stored is found to differ; what was yielded
                before is not to be trusted.
        """

    @abstractmethod
    def restore(
        self, snapshot: Snapshot, target: Target, selection: Selection = Everything()
    ) -> None:
        """Write the selected nodes into ``target``, in the order that it asks for, and close it.

        Content is verified before a file is finished; damaged files are abandoned and the rest is
        restored.

        Raises:
            DamagedRepository: If what describes the snapshot as a whole is missing or altered.
            TargetError: If the target cannot go on.
        """

    @abstractmethod
    def check(self, *, read_data: bool | DataSubset = False) -> CheckReport:
        """Look whether everything that snapshots need is there.

        With ``read_data`` every byte is read and verified; given a subset, only that share of the
        objects that hold the content of files. Damage is returned as findings, not raised. Without
        keys what can be compared without them is compared, and a note says so.

        Raises:
            WrongPassword: If keys were given and none of them opens what has to be read.
        """

    @abstractmethod
    def retag(self, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
        """Give a snapshot other tags and return it; its id may change.

        The old record goes after the new one is stored.

        Raises:
            RepositoryLocked: If another process excludes this.
        """

    @abstractmethod
    def remove(self, plan: RemovalPlan) -> None:
        """Remove the snapshots that ``plan`` names; what others need stays.

        Their space is freed by `clean_up`.

        Raises:
            RepositoryLocked: If another process uses the repository.
        """

    @abstractmethod
    def plan_clean_up(self, options: CleanUpOptions = CleanUpOptions()) -> CleanUpPlan:
        """Find the objects that no snapshot needs.

        Raises:
            InputError: If the archiver cannot do what ``options`` say.
            RepositoryLocked: If somebody removes or cleans up, so that it cannot be told.
            DamagedRepository: If it cannot be known for certain what is needed; nothing may be
                deleted then.
        """

    @abstractmethod
    def clean_up(self, plan: CleanUpPlan) -> CleanUpPlan:
        """Make the plan again under the lock, delete what is in both, and return what was deleted.

        What is needed of the deleted objects is copied first. The transport is tidied, too.

        Raises:
            InputError: If the archiver cannot do what the plan's options say.
            RepositoryLocked: If another process uses the repository.
            DamagedRepository: If it cannot be known for certain what is needed; nothing was
                deleted.
        """

    @abstractmethod
    def stats(self, snapshots: Sequence[Snapshot]) -> RepositoryStats:
        """Return figures; the restore size is that of ``snapshots``."""

    @override
    @abstractmethod
    def close(self) -> None:
        """Let go of it, and of its transport; closing twice is fine."""


def _lacks_nothing(transport: Transport) -> str:
    del transport
    return ""


def _knows_no_objects(name: str) -> None:
    del name


@frozen
class ArchiverKind:
    """A sort of repository that a plugin offers."""

    name: str
    settings: type[Any]
    """An attrs class: what is chosen when a repository is created (recipients, chain length)."""
    recognises: Callable[[Transport], bool]
    """Says whether a repository of this kind, of whatever version, stands there; reads as little as
    possible."""
    create: Callable[[Transport, Any, Keys, Surroundings], Repository]
    """Creates a repository at a transport where none stands and returns it open.

    The transport is prepared as soon as the settings and keys turn out to be fit, and not before.

    Raises:
        RepositoryExists: If one stands there, also if another process created it this moment.
    """
    open: Callable[[Transport, Keys, Surroundings], Repository]
    """Opens what `recognises` said yes to.

    Raises:
        UnknownFormat: If it is of a version that this program does not know.
        WrongPassword: If no key fits and one is needed to open it.
        DamagedRepository: If its description is altered.
    """
    lacks: Callable[[Transport], str] = _lacks_nothing
    """Names the object without which `recognises` says no, if others say that a repository of this
    kind stood there; else empty. Asked where nobody recognises anything, so that people are not
    told to create a repository in the ruins of one."""
    sort_of: Callable[[str], ObjectSort | None] = _knows_no_objects
    """Says what an object of this name is to a repository of this kind; None for a name that its
    repositories never hold. Whoever signs for a bucket asks this before anything else.

    Where the last part of a name is 64 hex digits, alone or before a dot, these are the SHA-256 of
    the object; whoever signs insists on it."""
