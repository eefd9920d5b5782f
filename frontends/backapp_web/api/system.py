"""The server itself: whether it can work, figures for monitoring, what its interface is."""

from importlib import metadata
from typing import Any

from litestar import Request, Response, Router, get
from litestar.openapi.datastructures import ResponseSpec

from backapp_core.errors import BackappError
from backapp_core.wire import API
from backapp_web.api.shapes import Health
from backapp_web.callers import Call, server_of
from backapp_web.description import document_of
from backapp_web.figures import figures_of

_VERSION = metadata.version("backapp")
_FIGURES = "text/plain; version=0.0.4; charset=utf-8"


@get("/health", sync_to_thread=True, responses={503: ResponseSpec(Health)})
def health(request: Call) -> Response[Health]:
    """Say whether the database answers."""
    try:
        server_of(request).fleet.has_users()
    except BackappError:
        return Response(Health("the database does not answer", _VERSION), status_code=503)
    return Response(Health("fine", _VERSION), status_code=200)


@get("/metrics", sync_to_thread=True, media_type=_FIGURES, return_dto=None)
def metrics(request: Call) -> bytes:
    """Return figures as Prometheus reads them."""
    return figures_of(request.app).text(server_of(request))


@get(f"{API}/openapi.json", sync_to_thread=False, include_in_schema=False, return_dto=None)
def description(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the description of the interface."""
    return Response(document_of(request.app), media_type="application/json")


def system_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[health, metrics, description], tags=["the server"])
