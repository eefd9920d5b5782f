"""What ids are called on pages."""

from collections.abc import Mapping

from backapp_core.ports.tenants import TenantStore


def agent_names(store: TenantStore) -> Mapping[str, str]:
    """Return what all machines are called, by id."""
    return {agent.id: agent.name for agent in store.agents.list()}
