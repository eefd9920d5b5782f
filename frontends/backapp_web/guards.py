"""Stands before every route: who calls, whether they may, and whether they meant to."""

import hmac
from typing import Any, cast
from urllib.parse import urlsplit

from anyio import to_thread
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, WebSocketException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler, WebsocketRouteHandler

from backapp_core.errors import BackappError, InputError, NotAllowed, NotSignedIn
from backapp_web.answers import status_of
from backapp_web.callers import (
    SAFE_METHODS,
    Caller,
    Connection,
    Sort,
    bearer,
    client_of,
    facts_of,
    is_secure,
    recognise,
    recognise_or_nobody,
    server_of,
)
from backapp_web.policies import POLICIES, Policy

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
_SOCKET = "WS"
_FORM = "application/x-www-form-urlencoded"
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_FORWARDING = ("forwarded", "x-forwarded-for", "x-real-ip", "cf-connecting-ip")


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a call through to its handler, or refuse it.

    Raises:
        BackappError: If the caller may not, or address or query hold what nothing can be called.
        WebSocketException: Instead, for a socket; its code is 4000 and the status.
    """
    del handler
    try:
        await _guard(connection)
    except BackappError as error:
        if not _is_socket(connection):
            raise
        raise WebSocketException(detail=error.message, code=4000 + status_of(error)) from error


async def _guard(connection: Connection) -> None:
    if facts_of(connection).get("method") == "OPTIONS":
        return
    _check_characters(connection)
    policy = POLICIES.get(_key(connection))
    if policy is None:
        raise NotAllowed("nobody may do this")
    if policy.is_same_for_all:
        return
    find = recognise_or_nobody if policy.is_open else recognise
    caller: Caller = await to_thread.run_sync(find, server_of(connection), connection)
    facts_of(connection)["user"] = caller
    if not (policy.is_local and _is_local(connection)):
        _check_policy(policy, caller)
    await _check_intent(connection, caller)


def check_policies(app: Litestar) -> None:
    """Refuse an application with a route that no policy stands before, or the other way round.

    Raises:
        InputError: If there is one; names it.
    """
    found = set(route_keys(app))
    without = sorted(found - set(POLICIES))
    idle = sorted(set(POLICIES) - found)
    if without or idle:
        raise InputError(f"routes without a policy: {without}; policies without a route: {idle}")


def route_keys(app: Litestar) -> list[str]:
    """Return all routes as the table of policies names them."""
    keys: list[str] = []
    for route in app.routes:
        for handler in _handlers(route):
            if isinstance(handler, WebsocketRouteHandler):
                keys.append(f"{_SOCKET} {route.path_format}")
            elif isinstance(handler, HTTPRouteHandler):
                keys += [f"{one} {route.path_format}" for one in handler.http_methods]
            else:
                keys.append(f"GET {route.path_format}")
    return [key for key in keys if not key.startswith("OPTIONS ")]


def _handlers(route: Any) -> list[BaseRouteHandler]:
    many = getattr(route, "route_handlers", None)
    return list(many) if many is not None else [route.route_handler]


def _key(connection: Connection) -> str:
    facts = facts_of(connection)
    method = _SOCKET if _is_socket(connection) else facts["method"]
    return f"{method} {facts['path_template']}"


def _is_socket(connection: Connection) -> bool:
    return bool(facts_of(connection)["type"] == "websocket")


def _check_policy(policy: Policy, caller: Caller) -> None:
    if caller.sort in policy.sorts and (policy.action is None or caller.may(policy.action)):
        return
    if caller.sort is Sort.NOBODY:
        raise NotSignedIn("sign in first, or show a key or token in the Authorization header")
    raise NotAllowed("whoever is signed in may not do this")


def _check_characters(connection: Connection) -> None:
    # No name has such characters, and some databases fail at them instead of finding nothing.
    texts = [str(value) for value in connection.path_params.values()]
    texts += [text for pair in connection.query_params.multi_items() for text in map(str, pair)]
    if any(not text.isprintable() for text in texts):
        raise InputError("address and query are printable text")


def _is_local(connection: Connection) -> bool:
    """Say whether the request comes from this machine, and not through something that forwards."""
    return client_of(connection) in _LOOPBACK and not any(
        name in connection.headers for name in _FORWARDING
    )


# --- whether they meant to


async def _check_intent(connection: Connection, caller: Caller) -> None:
    """Refuse what another site made a browser send.

    Raises:
        NotAllowed: If it comes from another site, or without the token of its session.
    """
    is_socket = _is_socket(connection)
    if bearer(connection) is not None:
        # No other site can make a browser send this header.
        return
    if not is_socket and facts_of(connection)["method"] in SAFE_METHODS:
        return
    _check_origin(connection, needs_origin=is_socket)
    if caller.sort is Sort.BROWSER and not is_socket:
        shown = await _shown_token(connection)
        if not hmac.compare_digest(shown.encode(), caller.csrf.encode()):
            raise NotAllowed("the page is out of date; load it again and repeat what you did")


def _check_origin(connection: Connection, *, needs_origin: bool) -> None:
    origin = connection.headers.get("origin")
    site = connection.headers.get("sec-fetch-site", "same-origin")
    is_foreign = site not in {"same-origin", "none"} or (
        origin not in own_origins(connection) if origin is not None else needs_origin
    )
    if is_foreign:
        raise NotAllowed("the request comes from another site")


def own_origins(connection: Connection) -> set[str]:
    """Return what a browser calls our pages by."""
    scheme = "https" if is_secure(connection) else "http"
    origins = {f"{scheme}://{connection.headers.get('host', '')}"}
    if public := server_of(connection).settings.public_url:
        parts = urlsplit(public)
        origins.add(f"{parts.scheme}://{parts.netloc}")
    return origins


async def _shown_token(connection: Connection) -> str:
    shown = connection.headers.get(CSRF_HEADER)
    if shown is not None:
        return shown
    if not connection.headers.get("content-type", "").startswith(_FORM):
        return ""
    try:
        form = await cast("Request[Any, Any, Any]", connection).form()
    except (ValueError, UnicodeDecodeError) as error:
        raise HTTPException(status_code=400, detail="the form cannot be read") from error
    return str(form.get(CSRF_FIELD, ""))
