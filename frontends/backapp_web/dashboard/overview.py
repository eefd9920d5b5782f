"""The first page: what is wrong, what happens now, and what to do next."""

from litestar import Response, Router, get

from backapp_core.model.users import Action
from backapp_web.callers import Call, caller_of, member_of, server_of, store_of
from backapp_web.dashboard.names import agent_names
from backapp_web.pages import page


@get("/overview", sync_to_thread=True)
def overview(request: Call) -> Response[bytes]:
    """Show the page."""
    caller = caller_of(request)
    seen = server_of(request).overview(member_of(request).tenant_id)
    ids = {one.agent_id for one in (*seen.failed, *seen.going, *seen.latest)}
    ids |= {one.agent_id for one in seen.repositories.unprotected}
    return page(
        request,
        "overview.html",
        seen=seen,
        names=agent_names(store_of(request), ids),
        may_configure=caller.may(Action.CONFIGURE),
    )


def overview_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[overview])
