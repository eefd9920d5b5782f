"""Draws pages: one environment, which escapes whatever it is given."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response
from litestar.connection import ASGIConnection
from markupsafe import Markup

from backapp_core.model.names import to_line, to_text
from backapp_web.callers import NOBODY, Caller, facts_of

FIRST_PAGE = "/machines"
PAGES = (("/machines", "Machines"), ("/profile", "Profile"))
"""What the navigation shows, in this order."""
_UNSAID = {"problem": "", "remark": "", "command": "", "token": ""}
"""What templates may ask about and few pages say."""


def _moment(at: datetime) -> Markup:
    utc = at.astimezone(UTC)
    shown = utc.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), shown)


@cache
def environment() -> Environment:
    """Return what templates are drawn with."""
    made = Environment(
        loader=PackageLoader("backapp_web.dashboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["path"] = to_text
    made.filters["line"] = to_line
    made.filters["moment"] = _moment
    return made


def drawn(connection: ASGIConnection[Any, Any, Any, Any], template: str, **what: Any) -> bytes:
    """Return a page."""
    caller: Caller = facts_of(connection).get("user", NOBODY)
    said = {**_UNSAID, "pages": PAGES, "caller": caller, "path": connection.url.path, **what}
    return environment().get_template(template).render(said).encode()


def page(
    connection: ASGIConnection[Any, Any, Any, Any], template: str, *, status: int = 200, **what: Any
) -> Response[bytes]:
    """Answer with a page."""
    content = drawn(connection, template, **what)
    return Response(content, status_code=status, media_type=MediaType.HTML)
