"""What ids are called on pages."""

from collections.abc import Mapping

from backapp_core.model.jobs import Job
from backapp_core.ports.tenants import TenantStore


def agent_names(store: TenantStore) -> Mapping[str, str]:
    """Return what all machines are called, by id."""
    return {agent.id: agent.name for agent in store.agents.list()}


def repository_id_of(job: Job) -> str:
    """Return the id of the repository that a job fills."""
    return job.repository.partition(":")[2]
