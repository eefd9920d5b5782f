"""What one tenant owns on a server: people, machines, repositories, runs; in groups by noun."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from attrs import frozen

from backapp_core.events import Event, Progress
from backapp_core.model.agents import Agent, EnrolmentToken
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.runs import Run
from backapp_core.model.tenants import Tenant
from backapp_core.model.users import ApiToken, Invitation, User
from backapp_core.model.work import Hold, Holding, Question
from backapp_core.ports.managed_repositories import Repositories
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


class FleetJobs(Jobs):
    """The jobs of one tenant's machines.

    To add a job, or to replace one, raises `RepositoryNotFound` if it fills a repository that was
    removed.
    """

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

        Those that were removed are not among them, and are found by `get` and `find`. None for
        ``limit`` means all, zero or less gives none.

        Raises:
            AgentNotFound: If ``after`` is no machine.
        """

    @abstractmethod
    def find(self, ids: Collection[str]) -> Mapping[str, Agent]:
        """Return those of these that are there, removed ones too, by id; for a page's worth."""

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

    @abstractmethod
    def remove(self, agent_id: str) -> Agent:
        """Take a machine whose key was taken back off the lists; doing so again changes nothing.

        Runs and receipts name it all the same.

        Raises:
            AgentNotFound: If there is none of this id.
            StillInUse: If its key is good, or a repository of its own is on the lists; names them.
        """


class FleetRuns(Runs):
    """The runs of one tenant's machines."""

    @abstractmethod
    def request(self, run: Run) -> Run:
        """Remember a new run that somebody asks for, unless one that does the same still waits.

        That one, which nobody has claimed, is returned then, as when somebody asks twice; else
        ``run``. The same is done by runs of one job and machine, and restores of one order. Of
        several who ask at once one adds a run and all get it. A run of this id that does the same
        is returned as it is, until it has ended.

        Raises:
            NameTaken: If a run of this id has ended, or does something else.
            InvalidName: As `Runs.add`.
            RepositoryNotFound: If the repository to be restored from is not there any more.
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
        """Return the latest requested run of those of these jobs that ever had one, by name."""

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
