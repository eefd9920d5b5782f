"""The repositories that a server manages for one tenant: part of what a tenant owns."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from attrs import frozen

from backapp_core.model.enforcements import Enforcement
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.receipts import Receipt
from backapp_core.model.snapshots import Snapshot


@frozen
class RepositoryStanding:
    """How the repositories of one tenant are."""

    all: int
    protected: int
    """How many can be had back although their machine is lost."""
    unprotected: tuple[ManagedRepository, ...]
    """Some that cannot."""


class Repositories(ABC):
    """The managed repositories of one tenant. Each method is one transaction."""

    @abstractmethod
    def add(self, repository: ManagedRepository) -> None:
        """Remember a repository.

        Raises:
            NameTaken: If one has this name, or this address.
            AgentNotFound: If its machine is none of this tenant's, or revoked.
        """

    @abstractmethod
    def get(self, name: str) -> ManagedRepository:
        """Return the repository of this id or name, one that was removed if no other is called so.

        Raises:
            RepositoryNotFound: If there is none.
        """

    @abstractmethod
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[ManagedRepository]:
        """Return them by name, those after the name ``after``, which may be none.

        Those that were removed are not among them. None for ``limit`` means all, zero or less gives
        none.
        """

    @abstractmethod
    def removed(self, *, after: str = "", limit: int | None = None) -> Sequence[ManagedRepository]:
        """Return those that were removed, by name, those that come after the id ``after``.

        None for ``limit`` means all, zero or less gives none.

        Raises:
            RepositoryNotFound: If ``after`` is no repository.
        """

    @abstractmethod
    def remove(self, repository_id: str) -> ManagedRepository:
        """Take a repository off the lists, and return it; doing so again changes nothing.

        Its receipts and snapshots stay, and are had by its id. Its name and its place may be used
        again. Its machine finds it no more, and nothing is granted for it.

        Raises:
            RepositoryNotFound: If there is none of this id.
            StillInUse: If a job fills it, or a run that fills it or restores from it waits or goes
                on; names them.
        """

    @abstractmethod
    def hand_over(self, repository_id: str, agent_id: str) -> ManagedRepository:
        """Make a repository another machine's, with all jobs that fill it, and return it.

        Of their schedules only moments count that come afterwards.

        Raises:
            RepositoryNotFound: If there is none of this id, or it was removed.
            AgentNotFound: If the other machine is none of this tenant's, or revoked.
            StillInUse: If the key of the machine that has it is good.
            NameTaken: If it is a folder, and another repository of that machine's stands there.
        """

    @abstractmethod
    def find(self, ids: Collection[str]) -> Mapping[str, ManagedRepository]:
        """Return those of these that are there, removed ones too, by id; for a page's worth."""

    @abstractmethod
    def standing(self, *, limit: int) -> RepositoryStanding:
        """Return how many there are, and ``limit`` unprotected ones by name."""

    @abstractmethod
    def is_folder_taken(self, agent_id: str, folder: str) -> bool:
        """Say whether a repository stands in this folder of the machine, as `address` has it."""

    @abstractmethod
    def record_enforcement(self, repository_id: str, enforces: Enforcement) -> None:
        """Remember what the bucket makes sure of.

        Raises:
            RepositoryNotFound: If there is none of this id.
        """

    @abstractmethod
    def take_init_grant(self, repository_id: str, name: str, sha256: str) -> bool:
        """Say whether the ``config`` or the ``key``, as ``name`` has it, may be created.

        There is one of each, whatever the objects are called. True the first time, and again for
        the same bytes; False for others, for good. One transaction, so that of two that ask at once
        one is told False.

        Raises:
            RepositoryNotFound: If there is none of this id.
        """

    @abstractmethod
    def add_locks(self, repository_id: str, names: Sequence[str]) -> None:
        """Remember locks that the repository's machine was let create.

        Raises:
            RepositoryNotFound: If there is none of this id.
        """

    @abstractmethod
    def owns_locks(self, repository_id: str, names: Sequence[str]) -> bool:
        """Say whether `add_locks` was told of all of them."""

    @abstractmethod
    def receipts(
        self, repository_id: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[Receipt]:
        """Return receipts, the newest first, those before number ``before``.

        Raises:
            RepositoryNotFound: If there is none of this id.
        """

    @abstractmethod
    def receipts_after(
        self, repository_id: str, sequence: int, *, limit: int = 1000
    ) -> Sequence[Receipt]:
        """Return receipts in the order of their numbers, those after number ``sequence``.

        Raises:
            RepositoryNotFound: If there is none of this id.
        """

    @abstractmethod
    def snapshots(
        self, repository_id: str, *, before: str | None = None, limit: int = 100
    ) -> Sequence[Snapshot]:
        """Return the snapshots that were acknowledged, the newest first.

        With ``before`` only those that come after the snapshot of that whole id in this order.

        Raises:
            RepositoryNotFound: If there is no repository of this id.
            SnapshotNotFound: If ``before`` is none of its snapshots.
        """

    @abstractmethod
    def snapshot(self, repository_id: str, snapshot_id: str) -> Snapshot:
        """Return a snapshot that was acknowledged, by its whole id.

        Raises:
            RepositoryNotFound: If there is no repository of this id.
            SnapshotNotFound: If it has no such snapshot.
        """

    @abstractmethod
    def latest_snapshots(
        self, ids: Collection[str], *, each: int
    ) -> Mapping[str, Sequence[Snapshot]]:
        """Return the newest ``each`` snapshots of these repositories, by the repository's id.

        Of ids of nothing there are none.
        """
