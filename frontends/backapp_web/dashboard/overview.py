"""The first page: what is wrong, what happens now, and what to do next."""

from litestar import Response, Router, get

from backapp_core.model.users import Action
from backapp_web.callers import Call, caller_of, member_of, server_of, store_of
from backapp_web.dashboard.names import run_names
from backapp_web.pages import page


@get("/overview", sync_to_thread=True)
def overview(request: Call) -> Response[bytes]:
    """Show the page."""
    caller = caller_of(request)
    seen = server_of(request).overview(member_of(request).tenant_id)
    ids = {one.agent_id for one in (*seen.failed, *seen.going, *seen.latest)}
    ids |= {one.agent_id for one in seen.repositories.unprotected}
    agents = store_of(request).agents.find(ids)
    return page(
        request,
        "overview.html",
        seen=seen,
        called=run_names(store_of(request), (*seen.failed, *seen.going, *seen.latest)),
        names={key: one.name for key, one in agents.items()},
        revoked={key for key, one in agents.items() if one.revoked_at},
        may_configure=caller.may(Action.CONFIGURE),
    )


def overview_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[overview])
