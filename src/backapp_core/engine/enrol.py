"""Machines join a server, and are recognised from then on."""

import re
from datetime import timedelta

from backapp_core.engine.tokens import hash_of, is_well_formed, new_id, new_token
from backapp_core.errors import AgentRevoked, InputError, InvalidName, TokenRefused
from backapp_core.model.agents import Agent, EnrolmentToken, check_agent_name
from backapp_core.model.users import Member
from backapp_core.ports.fleet import Fleet, KnownAgent
from backapp_core.ports.surroundings import Surroundings
from backapp_core.wire import AGENT_KEY_PREFIX, ENROLMENT_PREFIX, EnrolBody

TOKEN_SECONDS = 3600.0
_ID = re.compile(r"[0-9a-f]{32}")


def allow(
    fleet: Fleet, surroundings: Surroundings, member: Member, agent_name: str
) -> tuple[str, EnrolmentToken]:
    """Let one machine join within the hour; return the token, shown once, and what is kept.

    Raises:
        InvalidName: If no machine may be called so.
        NameTaken: If one is.
    """
    now = fleet.now()
    token = new_token(surroundings, ENROLMENT_PREFIX)
    kept = EnrolmentToken(
        id=new_id(surroundings),
        agent_name=check_agent_name(agent_name),
        created_by=member.user.id,
        created_at=now,
        expires_at=now + timedelta(seconds=TOKEN_SECONDS),
    )
    fleet.tenant(member.tenant_id).agents.allow(kept, hash_of(token))
    return token, kept


def enrol(fleet: Fleet, body: EnrolBody) -> KnownAgent:
    """Let a machine join that shows a token, with the id and the key that it chose.

    Repeating it with the same three gives the same machine.

    Raises:
        TokenRefused: If the token is unknown, used or expired; says which.
        NameTaken: If a machine of that name joined meanwhile.
        InvalidName: If id or key have not the shape of one.
    """
    if not _ID.fullmatch(body.agent_id):
        raise InvalidName("the id of a machine is 32 hex digits")
    if not is_well_formed(body.key, AGENT_KEY_PREFIX):
        raise InvalidName(
            f"the key of a machine is {AGENT_KEY_PREFIX} and at least 32 letters, digits, dashes"
            " and underscores"
        )
    if not is_well_formed(body.token, ENROLMENT_PREFIX):
        raise TokenRefused("this is no enrolment token; make one on the page of machines")
    known = fleet.enrol(hash_of(body.token), body.agent_id, hash_of(body.key))
    fleet.announce("agents", known.agent.id)
    return known


def recognise(fleet: Fleet, key: str) -> KnownAgent:
    """Return the machine whose key is shown.

    Raises:
        AgentRevoked: If it is nobody's, or was taken back.
    """
    known = fleet.recognise(hash_of(key)) if is_well_formed(key, AGENT_KEY_PREFIX) else None
    if known is None:
        raise AgentRevoked("this key belongs to no machine; enrol the machine again")
    if known.agent.revoked_at is not None:
        raise AgentRevoked(
            f"the key of '{known.agent.name}' was taken back; enrol the machine again"
        )
    return known


def at_most(wished: float, most_seconds: float, name: str) -> float:
    """Return how long something counts that a machine wishes for, never longer than the settings.

    Raises:
        InputError: If the machine wishes for nothing or less.
    """
    if wished <= 0:
        raise InputError(f"{name} is more than 0")
    return min(wished, most_seconds)


def revoke(fleet: Fleet, tenant_id: int, name: str) -> Agent:
    """Take the key of the machine of this id or name back, for good.

    Raises:
        AgentNotFound: If there is none.
    """
    agents = fleet.tenant(tenant_id).agents
    agent = agents.revoke(agents.get(name).id)
    fleet.announce("agents", agent.id)
    return agent


def remove(fleet: Fleet, tenant_id: int, name: str) -> Agent:
    """Take the machine of this id or name, whose key was taken back, off the server's lists.

    Raises:
        AgentNotFound: If there is none.
        StillInUse: If its key is good, or a repository of its own is on the lists.
    """
    agents = fleet.tenant(tenant_id).agents
    agent = agents.remove(agents.get(name).id)
    fleet.announce("agents", agent.id)
    return agent
