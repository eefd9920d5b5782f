"""What one tenant owns on a server: people, machines, repositories, runs; in groups by noun."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from attrs import frozen

from backapp_core.events import Event, Progress
from backapp_core.model.agents import Agent, EnrolmentToken
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.receipts import Receipt
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.tenants import Tenant
from backapp_core.model.users import ApiToken, Invitation, User
from backapp_core.model.work import Hold, Holding, Question
from backapp_core.ports.stores import Jobs, Runs
from backapp_core.ports.work import Work


@frozen
class AgentStanding:
    """How the machines of one tenant are, of those whose key is good."""

    enrolled: int
    online: int
    """How many were in touch lately."""
    silent: tuple[Agent, ...]
    """Some that were not."""


@frozen
class RepositoryStanding:
    """How the repositories of one tenant are."""

    all: int
    protected: int
    """How many can be had back although their machine is lost."""
    unprotected: tuple[ManagedRepository, ...]
    """Some that cannot."""


class FleetJobs(Jobs):
    """The jobs of one tenant's machines."""

    @abstractmethod
    def count(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def filling(self, repository_id: str, *, limit: int) -> Sequence[Job]:
        """Return jobs that fill a managed repository, by name."""


class Users(ABC):
    """The people of one tenant. Each method is one transaction."""

    @abstractmethod
    def get(self, user_id: str) -> User:
        """Return a user.

        Raises:
            UserNotFound: If there is none of this id here.
        """

    @abstractmethod
    def list(self) -> Sequence[User]:
        """Return all, by e-mail address."""

    @abstractmethod
    def replace(self, user: User) -> None:
        """Put ``user`` in the place of the one of the same id; switched off, sessions end.

        Raises:
            UserNotFound: If there is none of this id here.
            NameTaken: If somebody else has the e-mail address.
            IllegalTransition: If no enabled administrator would be left.
        """

    @abstractmethod
    def set_password(self, user_id: str, password_hash: str, *, keep_session: str = "") -> None:
        """Change the password; all sessions of the user end but the one with that token hash.

        Raises:
            UserNotFound: If there is none of this id here.
        """

    @abstractmethod
    def invite(self, invitation: Invitation, token_hash: str) -> None:
        """Remember an invitation.

        Raises:
            NameTaken: If the invited address has an account.
        """

    @abstractmethod
    def invitations(self) -> Sequence[Invitation]:
        """Return all that can still be used, the newest first."""

    @abstractmethod
    def add_api_token(self, token: ApiToken, token_hash: str) -> None:
        """Remember a token.

        Raises:
            UserNotFound: If there is no such user here.
        """

    @abstractmethod
    def api_tokens(self, user_id: str) -> Sequence[ApiToken]:
        """Return a user's tokens, the newest first."""

    @abstractmethod
    def remove_api_token(self, user_id: str, token_id: str) -> None:
        """Take a token back; removing what is absent is fine."""


class Agents(ABC):
    """The machines of one tenant. Each method is one transaction."""

    @abstractmethod
    def get(self, name: str) -> Agent:
        """Return the machine of this id or name.

        Raises:
            AgentNotFound: If there is none.
        """

    @abstractmethod
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[Agent]:
        """Return machines by name, revoked ones too, those that come after the id ``after``.

        None for ``limit`` means all, zero or less gives none.

        Raises:
            AgentNotFound: If ``after`` is no machine.
        """

    @abstractmethod
    def find(self, ids: Collection[str]) -> Mapping[str, Agent]:
        """Return those of these that are there, by id; for a page's worth of ids."""

    @abstractmethod
    def standing(self, *, alive_seconds: float, limit: int) -> AgentStanding:
        """Return how many there are and how they are, and ``limit`` silent ones by name."""

    @abstractmethod
    def allow(self, token: EnrolmentToken, token_hash: str) -> None:
        """Remember a token with which a machine may join.

        Raises:
            NameTaken: If a machine of that name is enrolled.
        """

    @abstractmethod
    def enrolments(self) -> Sequence[EnrolmentToken]:
        """Return the tokens that can still be used, the newest first."""

    @abstractmethod
    def revoke(self, agent_id: str) -> Agent:
        """Take a machine's key back for good; its waiting runs are cancelled, running ones failed.

        Its name may be used again. Doing so again changes nothing.

        Raises:
            AgentNotFound: If there is none of this id.
        """


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
        """Return the repository of this id or name.

        Raises:
            RepositoryNotFound: If there is none.
        """

    @abstractmethod
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[ManagedRepository]:
        """Return them by name, those after the name ``after``, which may be none.

        None for ``limit`` means all, zero or less gives none.
        """

    @abstractmethod
    def find(self, ids: Collection[str]) -> Mapping[str, ManagedRepository]:
        """Return those of these that are there, by id; for a page's worth of ids."""

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


class FleetRuns(Runs):
    """The runs of one tenant's machines."""

    @abstractmethod
    def request(self, run: Run) -> Run:
        """Remember a new run that somebody asks for, unless one that does the same still waits.

        That one, which nobody has claimed, is returned then, as when somebody asks twice; else
        ``run``. The same is done by runs of one kind, job, machine and, for restores, order. Of
        several who ask at once one adds a run and all get it.

        Raises:
            NameTaken: If a run of this id exists.
            InvalidName: As `Runs.add`.
        """

    @abstractmethod
    def wish_cancel(self, run_id: str) -> Run:
        """Cancel a run that waits, or ask the machine to stop a running one, and return it.

        Raises:
            RunNotFound: If there is none of this id.
            IllegalTransition: If it has ended.
        """

    @abstractmethod
    def holding(self, agent_id: str, hold: Hold) -> Holding:
        """Say for how long a machine holds a run, by the store's clock.

        As long as more than nothing is left nobody else can have taken the run over.

        Raises:
            LeaseLost: If the lease is over, somebody else took the run over, or it has ended.
            RunNotFound: If it is none of the machine's.
        """

    @abstractmethod
    def progress(self, run_id: str) -> Progress | None:
        """Return how far a run has come, None if nothing was reported.

        Raises:
            RunNotFound: If there is none of this id.
        """

    @abstractmethod
    def latest_of_jobs(self, names: Collection[str]) -> Mapping[str, Run]:
        """Return the latest requested backup of those of these jobs that ever had one, by name.

        Restores go by a job, too, and say nothing of how its backups are.
        """

    @abstractmethod
    def events_after(
        self, run_id: str, sequence: int, *, limit: int = 500
    ) -> Sequence[tuple[int, datetime, Event]]:
        """Return events with their numbers, from 1, that come after number ``sequence``.

        Raises:
            RunNotFound: If there is none of this id.
        """


class Questions(ABC):
    """What people ask agents. Each method is one transaction; what expired is removed."""

    @abstractmethod
    def ask(self, question: Question) -> None:
        """Let the agent find a question.

        Raises:
            AgentNotFound: If it is none of this tenant's, or revoked.
        """

    @abstractmethod
    def get(self, question_id: str) -> Question | None:
        """Return a question, with its answer if there is one; None if it is unknown or expired."""


Witness = Callable[[ManagedRepository, Sequence[ObjectSeen]], None]
"""Sees that every object is there with its size; raises `ObjectMissing` naming the first that is
not."""


class TenantStore(ABC):
    """Everything that one tenant owns."""

    tenant: Tenant
    jobs: FleetJobs
    runs: FleetRuns
    users: Users
    agents: Agents
    repositories: Repositories
    questions: Questions

    @abstractmethod
    def work(self, agent_id: str, witness: Witness) -> Work:
        """Return what the machine may ask for; whether it may is looked at in every call.

        ``witness`` looks into the bucket before a snapshot is acknowledged, outside of any
        transaction.
        """
