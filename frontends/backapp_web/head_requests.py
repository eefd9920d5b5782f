"""Answers HEAD wherever GET is answered, as monitors and ``curl -I`` expect (RFC 9110, 9.3.2)."""

from typing import cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send


def with_head(app: ASGIApp) -> ASGIApp:
    """Return ``app`` to be run by a server that leaves the bodies of such answers away."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] == "HEAD":
            scope = cast("HTTPScope", {**scope, "method": "GET"})
        await app(scope, receive, send)

    return answer
