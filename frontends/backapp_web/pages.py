"""Draws pages: one environment, which escapes whatever it is given."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import MediaType, Response
from litestar.connection import ASGIConnection
from markupsafe import Markup

from backapp_core.model import quantities
from backapp_core.model.names import to_line, to_text
from backapp_core.model.runs import Run
from backapp_core.model.users import Action
from backapp_web import words
from backapp_web.callers import NOBODY, Caller, facts_of, server_of

FIRST_PAGE = "/overview"
PAGES = (
    (FIRST_PAGE, "Overview", None),
    ("/machines", "Machines", None),
    ("/repositories", "Repositories", None),
    ("/jobs", "Jobs", None),
    ("/runs", "Runs", None),
    ("/snapshots", "Snapshots", None),
    ("/people", "People", Action.ADMINISTER),
    ("/profile", "Profile", None),
)
"""What the navigation shows, in this order, to those whose role includes the action."""
_UNSAID: Mapping[str, Any] = {"problem": "", "remark": "", "command": "", "token": ""}
"""What templates may ask about and few pages say."""


@pass_context
def _moment(context: Context, at: datetime) -> Markup:
    """A moment in UTC, and in words how far it is from now."""
    utc = at.astimezone(UTC)
    shown = utc.strftime("%Y-%m-%d %H:%M UTC")
    exact = utc.strftime("%Y-%m-%d %H:%M:%S UTC")
    ago = words.relative(utc, context["now"])
    return Markup(
        '<time datetime="{}" title="{}"><span class="at">{}</span>'
        ' <span class="ago">{}</span></time>'
    ).format(utc.isoformat(), exact, shown, ago)


@pass_context
def _took(context: Context, run: Run) -> str:
    return words.took(run, context["now"])


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@cache
def environment() -> Environment:
    """Return what templates are drawn with."""
    made = Environment(
        loader=PackageLoader("backapp_web.dashboard", "templates"),
        autoescape=True,
        auto_reload=False,  # else every part of every page is looked for in the file system
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = made.filters
    filters |= {
        "path": to_text,
        "line": to_line,
        "sentence": words.sentence,
        "moment": _moment,
        "clock": _clock,
        "took": _took,
        "size": quantities.size,
        "duration": quantities.duration,
        "state": words.state_of,
    }
    return made


def drawn(connection: ASGIConnection[Any, Any, Any, Any], template: str, **what: Any) -> bytes:
    """Return a page."""
    caller: Caller = facts_of(connection).get("user", NOBODY)
    now = server_of(connection).surroundings.clock.now()
    said: dict[str, Any] = {
        **_UNSAID,
        "pages": PAGES,
        "counted": quantities.count,
        "caller": caller,
        "path": connection.url.path,
        "now": now,
    }
    said |= what
    return environment().get_template(template).render(said).encode()


def page(
    connection: ASGIConnection[Any, Any, Any, Any], template: str, *, status: int = 200, **what: Any
) -> Response[bytes]:
    """Answer with a page."""
    content = drawn(connection, template, **what)
    return Response(content, status_code=status, media_type=MediaType.HTML)
