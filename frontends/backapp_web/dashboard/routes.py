"""All pages, the files that they use, and what a person sees when something goes wrong."""

from pathlib import Path
from typing import Any

from litestar import Request, Response, Router
from litestar.config.compression import CompressionConfig
from litestar.middleware import DefineMiddleware
from litestar.middleware.compression import CompressionMiddleware
from litestar.static_files import (
    create_static_files_router,  # pyright: ignore[reportUnknownVariableType]  # its paths are of any sort
)

from backapp_core.errors import NotSignedIn
from backapp_web.answers import as_problem, headers_of, told, wants_page
from backapp_web.dashboard.entrance import entrance_router, to_the_entrance
from backapp_web.dashboard.jobs import jobs_router
from backapp_web.dashboard.machines import machines_router
from backapp_web.dashboard.overview import overview_router
from backapp_web.dashboard.people import people_router
from backapp_web.dashboard.profile import profile_router
from backapp_web.dashboard.repositories import repositories_router
from backapp_web.dashboard.runs import runs_router
from backapp_web.dashboard.snapshots import snapshots_router
from backapp_web.pages import page

_ASSETS = Path(__file__).parent / "assets"


def dashboard_router() -> Router:
    """Return the routes of all pages."""
    files = create_static_files_router(
        path="/assets",
        directories=[_ASSETS],
        include_in_schema=False,
        # Files alone: of a page that repeats what somebody typed beside a token, the packed size
        # would tell something of the token.
        middleware=[DefineMiddleware(CompressionMiddleware, config=CompressionConfig("gzip"))],
    )
    return Router(
        "/",
        route_handlers=[
            files,
            entrance_router(),
            overview_router(),
            machines_router(),
            repositories_router(),
            jobs_router(),
            runs_router(),
            snapshots_router(),
            people_router(),
            profile_router(),
        ],
        include_in_schema=False,
    )


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a person with a page, or the way to the entrance, and a program with a problem."""
    problem = as_problem(request, error)
    if not wants_page(request):
        return problem
    if isinstance(error, NotSignedIn):
        return to_the_entrance(request)
    what = told(request, error)
    answer = page(request, "error.html", status=what.status, heading=what.title, detail=what.detail)
    answer.headers.update(headers_of(error, what.status))
    return answer
