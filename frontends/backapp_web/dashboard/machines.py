"""The page of machines: which there are and how they are, how one joins, how one goes."""

from typing import Any

from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery

from backapp_core.errors import BackappError, StillInUse
from backapp_core.model.users import Action
from backapp_web.answers import status_of
from backapp_web.api.machines import enrol_command, shown
from backapp_web.callers import Call, caller_of, member_of, server_of, store_of
from backapp_web.dashboard.forms import Form, field, going_to
from backapp_web.pages import page
from backapp_web.parts import OF_A_PAGE, address_of, cut


@get("/machines", sync_to_thread=True)
def machines(request: Call, *, after: FromQuery[str] = "") -> Response[bytes]:
    """Show the page."""
    return _shown(request, after=after)


@post("/machines", status_code=200, sync_to_thread=True)
def allow(request: Call, data: Form) -> Response[bytes]:
    """Let a machine join, and show the command this once."""
    try:
        name = field(data, "agent_name").strip()
        token, enrolment = server_of(request).allow_agent(member_of(request), name)
    except BackappError as error:
        return _shown(request, error=error, agent_name=str(data.get("agent_name", "")))
    return _shown(request, command=enrol_command(request, token), enrolment=enrolment)


@post("/machines/{agent:str}/revoke", status_code=200, sync_to_thread=True)
def revoke(request: Call, agent: FromPath[str]) -> Response[bytes]:
    """Take a machine's key back."""
    server_of(request).revoke(member_of(request).tenant_id, agent)
    return going_to("/machines")


@post("/machines/{agent:str}/remove", status_code=200, sync_to_thread=True)
def remove(request: Call, agent: FromPath[str]) -> Response[bytes]:
    """Take a machine off the list, or show what stands against it."""
    try:
        server_of(request).remove_agent(member_of(request).tenant_id, agent)
    except StillInUse as error:
        return _shown(request, error=error)
    return going_to("/machines")


def _shown(
    request: Call,
    *,
    after: str = "",
    error: BackappError | None = None,
    agent_name: str = "",
    **what: Any,
) -> Response[bytes]:
    agents = store_of(request).agents
    may_configure = caller_of(request).may(Action.CONFIGURE)
    found, last = cut(agents.list(after=after, limit=OF_A_PAGE + 1), OF_A_PAGE)
    return page(
        request,
        "machines.html",
        status=status_of(error) if error else 200,
        machines=shown(request, found),
        address=address_of("/machines", after=after),
        newest="/machines" if after else "",
        older=address_of("/machines", after=last.id) if last else "",
        enrolments=agents.enrolments() if may_configure else [],
        may_configure=may_configure,
        agent_name=agent_name,
        problem=error.message if error else "",
        **what,
    )


def machines_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[machines, allow, revoke, remove])
