"""Open sockets: machines hear that there is work, pages that something changed; only ids travel."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from anyio import to_thread
from litestar import Router, WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromQuery

from backapp_core.codec import to_plain
from backapp_core.wire import SOCKET, Wake
from backapp_web.callers import agent_of, caller_of, server_of
from backapp_web.figures import figures_of
from backapp_web.hub import Hub, Subscriber

_GOING_AWAY = 1001
_POLICY = 1008
_Socket = WebSocket[Any, Any, Any]


@websocket(SOCKET)
async def agent_socket(socket: _Socket) -> None:
    """Tell a machine when there is something to look at."""
    known = agent_of(socket)
    loop = asyncio.get_running_loop()
    subscriber = Subscriber(known.tenant_id, loop, agent_id=known.agent.id)
    await _serve(socket, subscriber, "agent")


@websocket("/live")
async def live(socket: _Socket, *, topics: FromQuery[str] = "") -> None:
    """Tell a page what changed of its tenant's things; of these topics only, if some are named."""
    caller = caller_of(socket)
    member, session = caller.member, caller.session
    if member is None or session is None:
        await socket.close(_POLICY)
        return
    loop = asyncio.get_running_loop()
    shown = frozenset(topics.split(",")) if topics else None
    subscriber = Subscriber(
        member.tenant_id, loop, user_id=member.user.id, token=caller.token, topics=shown
    )
    # The store may take its time, and all others wait for this thread.
    now = await to_thread.run_sync(server_of(socket).fleet.now)
    left = (session.expires_at - now).total_seconds()
    ending = loop.call_later(max(left, 0.0), subscriber.tell, None)
    try:
        await _serve(socket, subscriber, "page")
    finally:
        ending.cancel()


async def _serve(socket: _Socket, subscriber: Subscriber, sort: str) -> None:
    hub: Hub = socket.app.state["hub"]
    gauge = figures_of(socket.app).sockets.labels(sort)
    await socket.accept()
    gauge.inc()
    try:
        with hub.subscribed(subscriber), suppress(WebSocketDisconnect):
            await to_thread.run_sync(hub.look_again, subscriber)
            await _pass_on(socket, subscriber)
    finally:
        gauge.dec()


async def _pass_on(socket: _Socket, subscriber: Subscriber) -> None:
    """Send what there is to tell until somebody goes."""
    talking = asyncio.ensure_future(socket.receive())
    try:
        while True:
            waiting = asyncio.ensure_future(subscriber.messages.get())
            try:
                await asyncio.wait({talking, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if talking.done():
                    # Nobody has anything to say here: it is gone, or it does not belong here.
                    if talking.result()["type"] == "websocket.receive":
                        await socket.close(_POLICY, "nothing is to be sent here")
                    return
                wake = waiting.result()
            finally:
                waiting.cancel()
            if wake is None:
                await socket.close(_GOING_AWAY)
                return
            await socket.send_data(_encoded(wake))
    finally:
        talking.cancel()


def _encoded(wake: Wake) -> str:
    return msgspec.json.encode(to_plain(wake)).decode()


def sockets_router() -> Router:
    """Return the routes of this module."""
    return Router("/", route_handlers=[agent_socket, live])
