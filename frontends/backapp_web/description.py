"""The description of the interface, as an OpenAPI document that says who may call what."""

import json
from importlib import metadata
from typing import Any

from litestar import Litestar, MediaType, Request
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from typing_extensions import override

from backapp_core.codec import to_plain
from backapp_core.wire import API, Problem
from backapp_web.answers import PROBLEM_JSON
from backapp_web.callers import NOBODY, Sort
from backapp_web.pages import drawn
from backapp_web.policies import POLICIES, Policy

DOCS = f"{API}/docs"
_PROBLEMS = {
    "400": "What was sent cannot be used; all faults are listed.",
    "401": "Nobody is signed in, or the key or token is not good.",
    "403": "The caller may not do this.",
    "404": "There is no such thing, or it is another's.",
    "409": "It collides with the present state of things.",
    "413": "The body is too large.",
    "415": "The body is no JSON.",
    "429": "Too many attempts; see Retry-After.",
    "503": "The database does not answer.",
}
_KEPT = "openapi"
_DRAWN = "openapi page"
_METHODS = ("get", "put", "post", "delete", "patch")
_BEARER, _SESSION, _CSRF = "bearer", "session", "csrf"


def openapi_config() -> OpenAPIConfig:
    """Return what the document says of the interface as a whole."""
    schemes: dict[str, Any] = {
        _BEARER: SecurityScheme(
            type="http", scheme="bearer", description="An API token, or the key of a machine."
        ),
        _SESSION: SecurityScheme(
            type="apiKey",
            security_scheme_in="cookie",
            name="backapp_session",
            description="What signing in sets; over TLS its name begins with __Host-.",
        ),
        _CSRF: SecurityScheme(
            type="apiKey",
            security_scheme_in="header",
            name="X-CSRF-Token",
            description="What signing in answered; with the cookie, where something changes.",
        ),
    }
    return OpenAPIConfig(
        title="BackApp",
        version=metadata.version("backapp"),
        description="What browsers, programs and machines ask of a BackApp server.",
        components=Components(security_schemes=schemes),
        path=DOCS,
        render_plugins=[Document(path="/openapi.json", media_type=MediaType.JSON), _page()],
        use_handler_docstrings=True,
    )


class Document(OpenAPIRenderPlugin):
    """The document as JSON."""

    @override
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return document_of(request.app)


class Page(OpenAPIRenderPlugin):
    """The document as a page that loads nothing from anywhere; the same for everybody."""

    @override
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        state = request.app.state
        if _DRAWN not in state:
            document = json.loads(document_of(request.app))
            state[_DRAWN] = drawn(
                request, "description.html", caller=NOBODY, document=document, methods=_METHODS
            )
        page: bytes = state[_DRAWN]
        return page


def _page() -> Page:
    return Page(path="/", media_type=MediaType.HTML)


def document_of(app: Litestar) -> bytes:
    """Return the OpenAPI document of an application as JSON; made once."""
    if _KEPT not in app.state:
        app.state[_KEPT] = json.dumps(described(app)).encode()
    kept: bytes = app.state[_KEPT]
    return kept


def described(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of an application as plain data."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)  # the codec refuses them
    schemas["Problem"] = _PROBLEM
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                policy = POLICIES[f"{method.upper()} {path}"]
                item[method]["security"] = _security(policy, is_safe=method == "get")
                _complete(item[method]["responses"])
    return document


_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "An error, as RFC 9457 has it.",
    "required": list(to_plain(Problem("", "", 0, ""))),
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "faults": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "string"}},
            "description": "Path and reason of everything that is wrong with a body.",
        },
    },
}


def _complete(responses: dict[str, Any]) -> None:
    responses.pop("400", None)  # what the framework would say, and here does not
    for status, words in _PROBLEMS.items():
        responses.setdefault(status, _answer(words))
    for response in responses.values():
        content: dict[str, Any] = response.get("content") or {}
        if "" in content:
            content["application/json"] = content.pop("")


def _answer(words: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {PROBLEM_JSON: {"schema": schema}}}


def _security(policy: Policy, *, is_safe: bool) -> list[dict[str, list[str]]]:
    if policy.is_open:
        return []
    ways: list[dict[str, list[str]]] = []
    if policy.sorts & {Sort.TOKEN, Sort.AGENT}:
        ways.append({_BEARER: []})
    if Sort.BROWSER in policy.sorts:
        ways.append({_SESSION: []} if is_safe else {_SESSION: [], _CSRF: []})
    if policy.is_local:
        ways.append({})
    return ways
