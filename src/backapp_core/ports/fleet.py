"""What a server remembers for all its tenants: who is who, which machines there are, what they do.

Everything that a tenant owns is reached through `Fleet.tenant`, so that no query can forget whose
it is. Tokens, keys and session ids are known to the store by their SHA-256 only.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from attrs import frozen
from typing_extensions import override

from backapp_core.model.agents import Agent
from backapp_core.model.tenants import Tenant
from backapp_core.model.users import ApiToken, Invitation, Member, Session, User
from backapp_core.ports.closing import Closing
from backapp_core.ports.tenants import TenantStore


@frozen
class Login:
    """What is needed to check a password."""

    member: Member
    password_hash: str


@frozen
class KnownAgent:
    """Whose key somebody showed."""

    agent: Agent
    tenant_id: int


Announced = Callable[[str, str], None]
"""Is told of a topic (``runs``, ``agents``, ``questions``) and the id of what changed."""


class Fleet(Closing):
    """What a server remembers; from any thread and, where the kind allows, by several servers."""

    is_shared: bool
    """Whether several servers may use it at once."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the store's time, to which leases and tokens go."""

    @abstractmethod
    def tenants(self) -> Sequence[Tenant]:
        """Return all tenants by id."""

    @abstractmethod
    def add_tenant(self, name: str) -> Tenant:
        """Make room for another tenant.

        Raises:
            NameTaken: If one is called so.
            InvalidName: If it is not 1 to 64 printable characters.
        """

    @abstractmethod
    def tenant(self, tenant_id: int) -> TenantStore:
        """Return what one tenant owns; costs nothing.

        Raises:
            StoreUnavailable: If there is no such tenant.
        """

    # --- who is who

    @abstractmethod
    def has_users(self) -> bool:
        """Say whether anybody ever had an account."""

    @abstractmethod
    def login(self, email: str) -> Login | None:
        """Return what is needed to check the password of an enabled user; None for others."""

    @abstractmethod
    def join(self, token_hash: str, user: User, password_hash: str) -> Member:
        """Use an invitation up and make the account, with the invitation's role and tenant.

        Raises:
            TokenRefused: If the invitation is unknown, used, expired or for another address; says
                which.
            NameTaken: If the address has an account; the invitation can be used again.
            InvalidName: If the address is none.
        """

    @abstractmethod
    def register(self, tenant_id: int, user: User, password_hash: str) -> Member:
        """Make an account without an invitation.

        Raises:
            NameTaken: If the address has an account.
            InvalidName: If the address is none.
        """

    @abstractmethod
    def invitation(self, token_hash: str) -> Invitation | None:
        """Return the invitation that a token stands for, whether or not it can still be used."""

    @abstractmethod
    def open_session(self, token_hash: str, session: Session) -> None:
        """Remember that somebody signed in."""

    @abstractmethod
    def session(self, token_hash: str, *, idle_seconds: float) -> tuple[Session, User] | None:
        """Return a session and its enabled user, and note that it was used.

        None if it is unknown, expired, or was not used for ``idle_seconds``.
        """

    @abstractmethod
    def close_session(self, token_hash: str) -> None:
        """End a session; ending what is absent is fine."""

    @abstractmethod
    def api_token(self, token_hash: str) -> tuple[ApiToken, Member] | None:
        """Return a token that is valid, with its enabled user, and note that it was used."""

    @abstractmethod
    def note_failure(self, key: str, *, window_seconds: float) -> int:
        """Count a wrong password for ``key``; return how many there were within the window."""

    @abstractmethod
    def failures(self, key: str, *, window_seconds: float) -> int:
        """Return how many wrong passwords there were for ``key`` within the window."""

    @abstractmethod
    def forget_failures(self, key: str) -> None:
        """Forget the wrong passwords for ``key``: there was a right one."""

    # --- machines

    @abstractmethod
    def enrol(self, token_hash: str, agent_id: str, key_hash: str) -> KnownAgent:
        """Use an enrolment token up and remember the machine under the token's name.

        Repeating it with the same token, id and key gives the same machine: an answer may be lost.

        Raises:
            TokenRefused: If the token is unknown, used or expired; says which.
            NameTaken: If a machine of that name joined meanwhile.
        """

    @abstractmethod
    def recognise(self, key_hash: str) -> KnownAgent | None:
        """Return whose key it is; None if nobody's. A revoked machine is returned as such."""

    # --- between servers

    @abstractmethod
    def announce(self, topic: str, subject_id: str) -> None:
        """Tell all servers that something changed; no more than that, and without any promise."""

    @abstractmethod
    def listen(self, announced: Announced) -> AbstractContextManager[None]:
        """Call ``announced`` for every announcement, from a thread of the store, until left.

        What changes is announced by whoever changes it, also by `Work`. After a lost connection the
        topic ``all`` with an empty id says that something may have been missed.
        """

    @abstractmethod
    def hold_alone(self) -> AbstractContextManager[None]:
        """Be the only server on this store, where the kind allows no more than one.

        Raises:
            StoreUnavailable: If another server uses it.
        """

    @override
    @abstractmethod
    def close(self) -> None:
        """Give connections back; closing twice is fine."""
