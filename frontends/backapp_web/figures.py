"""Figures for monitoring, counted as it happens or looked up when they are asked for."""

from typing import cast

from litestar import Litestar
from litestar.types import Message, Scope
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from backapp_core.engine.server import Server


class Figures:
    """What one process counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "backapp_http_answers",
            "Answers by method and status",
            ["method", "status"],
            registry=self._registry,
        )
        self.sockets = Gauge(
            "backapp_sockets", "Open WebSockets by sort", ["sort"], registry=self._registry
        )
        self.due_runs = Counter(
            "backapp_due_runs", "Runs that were requested as due", registry=self._registry
        )
        self._agents = Gauge(
            "backapp_agents", "Enrolled machines", ["state"], registry=self._registry
        )

    async def count(self, message: Message, scope: Scope) -> None:
        """Count an answer that begins."""
        if message["type"] == "http.response.start":
            method = cast("dict[str, str]", scope)["method"]
            self._answers.labels(method, str(message["status"])).inc()

    def text(self, server: Server) -> bytes:
        """Return everything as Prometheus reads it."""
        alive_seconds = server.settings.alive_seconds
        found = [
            server.tenant(tenant.id).agents.standing(alive_seconds=alive_seconds, limit=0)
            for tenant in server.fleet.tenants()
        ]
        online = sum(one.online for one in found)
        self._agents.labels("online").set(online)
        self._agents.labels("offline").set(sum(one.enrolled for one in found) - online)
        return generate_latest(self._registry)


def figures_of(app: Litestar) -> Figures:
    """Return what an application counts."""
    figures: Figures = app.state["figures"]
    return figures
