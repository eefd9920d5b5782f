"""Who calls: found out once per request, by the key or token in a header, or by the cookie."""

import hmac
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar, cast

from anyio import CapacityLimiter, to_thread
from attrs import field, frozen
from litestar import Request, WebSocket
from litestar.connection import ASGIConnection
from litestar.datastructures import State

from backapp_core.engine.server import Server
from backapp_core.errors import AgentRevoked, NotSignedIn
from backapp_core.model.users import Action, Member, Session
from backapp_core.ports.fleet import KnownAgent
from backapp_core.ports.tenants import TenantStore
from backapp_core.wire import AGENT_KEY_PREFIX

MOST_UNKNOWN_BYTES = 64 * 1024
"""No body from somebody who need not show anything is larger."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_COOKIE = "backapp_session"
_BEARER = "bearer "
_T = TypeVar("_T")


class Sort(StrEnum):
    """How somebody proved who they are."""

    NOBODY = "nobody"
    BROWSER = "browser"
    """A person at a browser, by a session cookie."""
    TOKEN = "token"  # noqa: S105  # a word, no secret
    """A program that acts for a person, by an API token."""
    AGENT = "agent"
    """A machine, by its key."""


@frozen
class Caller:
    """Who calls."""

    sort: Sort = Sort.NOBODY
    member: Member | None = None
    """The person, or whom a program acts for."""
    session: Session | None = None
    agent: KnownAgent | None = None
    token: str = field(default="", repr=False)
    """Of the session."""

    @property
    def csrf(self) -> str:
        """What a page sends back to show that it is ours; belongs to one session."""
        return csrf_of(self.token) if self.token else ""

    def may(self, action: Action) -> bool:
        """Say whether the person's role includes ``action``."""
        return self.member is not None and self.member.user.role.may(action)


NOBODY = Caller()
Call: TypeAlias = Request[Caller, Any, State]
Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]


def csrf_of(token: str) -> str:
    """Return what belongs to a session and does not give it away."""
    return hmac.new(token.encode(), b"cross-site requests", sha256).hexdigest()


def facts_of(connection: Connection) -> dict[str, Any]:
    """Return what the server in front says of a connection, by the names of ASGI."""
    return cast("dict[str, Any]", connection.scope)


def is_secure(connection: Connection) -> bool:
    """Say whether the browser sees TLS; a trusted proxy says so for what is behind it."""
    return facts_of(connection)["scheme"] in {"https", "wss"}


def cookie_name(connection: Connection) -> str:
    """Return what the session's cookie is called; the prefix makes browsers hold it fast."""
    return f"__Host-{_COOKIE}" if is_secure(connection) else _COOKIE


def session_token(connection: Connection) -> str:
    """Return what the browser shows, empty if nothing."""
    return connection.cookies.get(cookie_name(connection), "")


def bearer(connection: Connection) -> str | None:
    """Return what the header shows; None without one, empty if it is of another kind."""
    header = connection.headers.get("authorization")
    if header is None:
        return None
    return header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else ""


def recognise(server: Server, connection: Connection) -> Caller:
    """Find out who calls; a header counts alone, whatever cookies come with it.

    Raises:
        NotSignedIn: If what the header shows is not good.
        AgentRevoked: If it is the key of a machine, and not good.
    """
    shown = bearer(connection)
    if shown is None:
        return _by_cookie(server, session_token(connection))
    if shown.startswith(AGENT_KEY_PREFIX):
        return Caller(Sort.AGENT, agent=server.recognise(shown))
    member = server.api_token(shown)
    if member is None:
        raise NotSignedIn("this API token is unknown or has expired")
    return Caller(Sort.TOKEN, member=member)


def recognise_or_nobody(server: Server, connection: Connection) -> Caller:
    """Find out who calls where nobody has to show anything."""
    try:
        return recognise(server, connection)
    except (NotSignedIn, AgentRevoked):
        return NOBODY


def _by_cookie(server: Server, token: str) -> Caller:
    found = server.session(token) if token else None
    if found is None:
        return NOBODY
    session, user = found
    return Caller(Sort.BROWSER, Member(user, session.tenant_id), session, token=token)


async def hashing(connection: Connection, work: Callable[[], _T]) -> _T:
    """Do what hashes passwords, a few at a time, so that nobody else has to wait for a thread."""
    limiter: CapacityLimiter = connection.app.state["hashing"]
    return await to_thread.run_sync(work, limiter=limiter)


# --- what handlers ask of a request that was let through


def server_of(connection: Connection) -> Server:
    """Return the engine's part."""
    server: Server = connection.app.state["server"]
    return server


def caller_of(connection: Request[Any, Any, Any] | WebSocket[Any, Any, Any]) -> Caller:
    """Return who calls."""
    caller: Caller = facts_of(connection).get("user", NOBODY)
    return caller


def member_of(request: Call) -> Member:
    """Return the person, or whom a program acts for.

    Raises:
        NotSignedIn: If it is nobody.
    """
    member = caller_of(request).member
    if member is None:
        raise NotSignedIn("sign in first")
    return member


def agent_of(connection: Request[Any, Any, Any] | WebSocket[Any, Any, Any]) -> KnownAgent:
    """Return the machine that calls.

    Raises:
        AgentRevoked: If it is none.
    """
    known = caller_of(connection).agent
    if known is None:
        raise AgentRevoked("this key belongs to no machine; enrol the machine again")
    return known


def store_of(request: Call) -> TenantStore:
    """Return what the caller's tenant owns; nothing else is within reach."""
    return server_of(request).tenant(member_of(request).tenant_id)


def client_of(connection: Connection) -> str:
    """Return the network address of the client, as a trusted proxy says where there is one."""
    return connection.client.host if connection.client else ""
