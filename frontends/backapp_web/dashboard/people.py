"""The page of people: who there is, what they may, who is invited; for administrators."""

from litestar import Response, Router, get, post
from litestar.params import FromPath

from backapp_core.errors import BackappError, InputError, UserNotFound
from backapp_core.model.users import Role
from backapp_web.addresses import own_url
from backapp_web.answers import status_of
from backapp_web.callers import Call, member_of, server_of, store_of
from backapp_web.dashboard.forms import Form, field, going_to
from backapp_web.pages import page

_SWITCHES = {"": None, "on": True, "off": False}


@get("/people", sync_to_thread=True)
def people(request: Call) -> Response[bytes]:
    """Show the page."""
    return _shown(request)


@post("/people", status_code=200, sync_to_thread=True)
def invite(request: Call, data: Form) -> Response[bytes]:
    """Invite somebody, and show the link this once."""
    try:
        role, email = _role(field(data, "role")), field(data, "email").strip()
        token, invitation = server_of(request).invite(member_of(request), role, email)
    except BackappError as error:
        return _shown(request, error=error, data=data)
    return _shown(request, link=f"{own_url(request)}/join/{token}", invited=invitation)


@post("/people/{user_id:str}", status_code=200, sync_to_thread=True)
def change(request: Call, user_id: FromPath[str], data: Form) -> Response[bytes]:
    """Change somebody's role, or switch the account off or on.

    Raises:
        UserNotFound: If there is nobody of this id.
    """
    tenant_id = member_of(request).tenant_id
    try:
        role = _role(field(data, "role")) if field(data, "role") else None
        is_enabled = _SWITCHES.get(field(data, "switch"))
        server_of(request).change_user(tenant_id, user_id, role=role, is_enabled=is_enabled)
    except UserNotFound:
        raise
    except BackappError as error:
        return _shown(request, error=error)
    return going_to("/people")


def _role(text: str) -> Role:
    if text not in set(Role):
        raise InputError("choose a role")
    return Role(text)


def _shown(
    request: Call, *, error: BackappError | None = None, data: Form | None = None, **what: object
) -> Response[bytes]:
    users, form = store_of(request).users, data or {}
    return page(
        request,
        "people.html",
        status=status_of(error) if error else 200,
        people=users.list(),
        names={one.id: one.name for one in users.list()},
        invitations=users.invitations(),
        roles=list(Role),
        own_id=member_of(request).user.id,
        role=str(form.get("role", Role.VIEWER)),
        email=str(form.get("email", "")),
        problem=error.message if error else "",
        **{"link": "", "invited": None, **what},
    )


def people_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[people, invite, change])
