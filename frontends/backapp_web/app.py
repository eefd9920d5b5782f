"""The application: routes, and what stands around all of them."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

from anyio import CapacityLimiter, to_thread
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from backapp_core.engine.server import Server
from backapp_core.errors import BackappError
from backapp_core.wire import MOST_BODY_BYTES
from backapp_web.api.account import account_router
from backapp_web.api.backups import backups_router
from backapp_web.api.grants import grants_router
from backapp_web.api.machines import machines_router
from backapp_web.api.runs import runs_router
from backapp_web.api.system import system_router
from backapp_web.api.work import work_router
from backapp_web.bodies import Codec, PlainTypes
from backapp_web.dashboard.routes import answer_error, dashboard_router
from backapp_web.description import openapi_config
from backapp_web.figures import Figures
from backapp_web.guards import check_policies, guard
from backapp_web.headers import add_headers
from backapp_web.hub import Hub
from backapp_web.rounds import rounds
from backapp_web.sockets import sockets_router

_HASHING_AT_ONCE = 4
"""Requests with passwords that have a thread; the engine lets half of them hash."""


def create_app(server: Server, *, goes_round: bool = True) -> Litestar:
    """Return the application of a server, which is opened and closed by whoever made it.

    Args:
        server: What it is the door of.
        goes_round: Whether it looks for jobs that are due while it runs.

    Raises:
        InputError: If a route has no policy.
    """
    figures, hub = Figures(), Hub(server)

    begin = partial(_begin, server, hub, figures, goes_round=goes_round)

    @asynccontextmanager
    async def living(app: Litestar) -> AsyncGenerator[None]:
        app.state["hashing"] = CapacityLimiter(_HASHING_AT_ONCE)
        stack = await to_thread.run_sync(begin)
        try:
            yield
        finally:
            await to_thread.run_sync(stack.close)

    app = Litestar(
        route_handlers=[_interface(), sockets_router(), dashboard_router()],
        guards=[guard],
        before_send=[add_headers, figures.count],
        exception_handlers={
            BackappError: answer_error,
            HTTPException: answer_error,
            Exception: answer_error,
        },
        request_max_body_size=MOST_BODY_BYTES,
        openapi_config=openapi_config(),
        plugins=[PlainTypes()],
        state=State({"server": server, "figures": figures, "hub": hub}),
        lifespan=[living],
        logging_config=None,
    )
    check_policies(app)
    return app


def _begin(server: Server, hub: Hub, figures: Figures, *, goes_round: bool) -> ExitStack:
    with ExitStack() as stack:
        stack.enter_context(hub.listening())
        if goes_round:
            stack.enter_context(rounds(server, figures))
        return stack.pop_all()


def _interface() -> Router:
    return Router(
        "/",
        route_handlers=[
            system_router(),
            account_router(),
            machines_router(),
            backups_router(),
            runs_router(),
            work_router(),
            grants_router(),
        ],
        dto=Codec,
        return_dto=Codec,
    )
