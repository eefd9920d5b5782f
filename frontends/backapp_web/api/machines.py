"""Machines as people see them: which there are, how one joins, taking a key back, removing one."""

import shlex
from collections.abc import Iterable

from litestar import Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from backapp_core.model.agents import Agent
from backapp_core.wire import API, ENROL, EnrolBody, Enrolled
from backapp_web.addresses import own_url
from backapp_web.api.shapes import (
    Agents,
    AgentShown,
    Enrolment,
    EnrolmentBody,
    Enrolments,
)
from backapp_web.callers import MOST_UNKNOWN_BYTES, Call, Connection, member_of, server_of, store_of
from backapp_web.parts import OF_A_PART, Limit, cut


def shown(request: Call, agents: Iterable[Agent]) -> tuple[AgentShown, ...]:
    """Return machines as they are shown."""
    server = server_of(request)
    at = server.fleet.now()
    return tuple(AgentShown(agent, server.is_online(agent, at=at)) for agent in agents)


def enrol_command(connection: Connection, token: str) -> str:
    """Return what is typed on the machine that is to join."""
    return f"backapp agent enrol {shlex.quote(own_url(connection))} --token {shlex.quote(token)}"


@get(f"{API}/agents", sync_to_thread=True)
def list_agents(request: Call, *, after: FromQuery[str] = "", limit: Limit = OF_A_PART) -> Agents:
    """Return machines by name, also those whose key was taken back, a part at a time."""
    found, last = cut(store_of(request).agents.list(after=after, limit=limit + 1), limit)
    return Agents(shown(request, found), last.id if last else None)


@get(f"{API}/agents/{{agent:str}}", sync_to_thread=True)
def get_agent(request: Call, agent: FromPath[str]) -> AgentShown:
    """Return the machine of this id or name."""
    [found] = shown(request, [store_of(request).agents.get(agent)])
    return found


@post(f"{API}/agents/{{agent:str}}/revoke", status_code=200, sync_to_thread=True)
def revoke(request: Call, agent: FromPath[str]) -> AgentShown:
    """Take the machine's key back for good."""
    revoked = server_of(request).revoke(member_of(request).tenant_id, agent)
    [found] = shown(request, [revoked])
    return found


@delete(f"{API}/agents/{{agent:str}}", status_code=204, sync_to_thread=True)
def remove_agent(request: Call, agent: FromPath[str]) -> None:
    """Take a machine off the lists whose key was taken back, and that has no repository here."""
    server_of(request).remove_agent(member_of(request).tenant_id, agent)


@get(f"{API}/enrolments", sync_to_thread=True)
def list_enrolments(request: Call) -> Enrolments:
    """Return the enrolment tokens that can still be used."""
    return Enrolments(tuple(store_of(request).agents.enrolments()))


@post(f"{API}/enrolments", status_code=201, sync_to_thread=True)
def allow(request: Call, data: JSONBody[EnrolmentBody]) -> Enrolment:
    """Let a machine join within the hour; token and command are shown once."""
    token, kept = server_of(request).allow_agent(member_of(request), data.agent_name)
    return Enrolment(token, enrol_command(request, token), kept)


@post(ENROL, status_code=200, sync_to_thread=True, request_max_body_size=MOST_UNKNOWN_BYTES)
def enrol(request: Call, data: JSONBody[EnrolBody]) -> Enrolled:
    """Join, as a machine that holds a token."""
    known, tenant = server_of(request).enrol(data)
    return Enrolled(known.agent.id, known.agent.name, tenant.name)


def machines_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[
            *(list_agents, get_agent, revoke, remove_agent, list_enrolments, allow, enrol)
        ],
        tags=["machines"],
    )
