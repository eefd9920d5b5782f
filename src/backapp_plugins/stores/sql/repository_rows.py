"""Rows of managed repositories to model values and back."""

from typing import Any

from backapp_core.plugin_api import RepositoryNotFound
from backapp_core.server_api import ManagedRepository
from backapp_plugins.stores.sql.rows import (
    check_id,
    from_body,
    hash_of,
    optional_moment_to_column,
    to_body,
)


def repository_to_row(repository: ManagedRepository, tenant_id: int) -> dict[str, Any]:
    """Return the columns of a repository.

    Raises:
        InvalidName: If its id cannot be kept.
    """
    return {
        "id": check_id(repository.id, "repository"),
        "name": repository.name,
        "agent_id": repository.agent_id,
        "place_hash": _place_hash(repository, tenant_id),
        **change_to_row(repository),
    }


def change_to_row(repository: ManagedRepository) -> dict[str, Any]:
    """Return the columns of a repository that may change."""
    return {
        "body": to_body(repository),
        "is_protected": repository.is_protected,
        "removed_at": optional_moment_to_column(repository.removed_at),
    }


def repository_from_row(row: Any) -> ManagedRepository:
    """Return the repository that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    return from_body(row.body, ManagedRepository, "repository")


def check_there(row: Any) -> None:
    """Refuse a repository that was removed.

    Raises:
        RepositoryNotFound: If it was.
    """
    if row.removed_at is not None:
        raise RepositoryNotFound(f"repository '{row.name}' was removed from this server")


def folder_hash(tenant_id: int, agent_id: str, folder: str) -> str:
    """Return the hash of the place that is a folder on a machine."""
    return hash_of(f"folder {tenant_id} {agent_id} {folder}")


def _place_hash(repository: ManagedRepository, tenant_id: int) -> str:
    # The same folder on another machine is another place, the same bucket is not, whoever asks.
    if repository.is_local:
        return folder_hash(tenant_id, repository.agent_id, repository.address)
    return hash_of(f"bucket {repository.address}")
