"""Rows of repositories, held until a transaction ends, so that nobody changes them meanwhile."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from backapp_core.plugin_api import RepositoryNotFound, to_line
from backapp_core.server_api import ManagedRepository
from backapp_plugins.stores.sql.repository_rows import (
    change_to_row,
    check_there,
    repository_from_row,
)
from backapp_plugins.stores.sql.rows import is_id
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import REPOSITORIES

_SHOWN_CHARACTERS = 64


def locked_repository(connection: Connection, scope: Scope, repository_id: str) -> Any:
    """Return the row of a repository, held until the transaction ends.

    Raises:
        RepositoryNotFound: If the tenant has none of this id, or it was removed.
    """
    row = held_row(connection, scope, repository_id)
    check_there(row)
    return row


def held_row(connection: Connection, scope: Scope, repository_id: str) -> Any:
    """Return the row of a repository that may have been removed, held until the transaction ends.

    Raises:
        RepositoryNotFound: If the tenant has none of this id.
    """
    row = scope.lock(connection, REPOSITORIES, id=repository_id) if is_id(repository_id) else None
    if row is None:
        raise RepositoryNotFound(no_repository(repository_id))
    return row


def change_repository(
    connection: Connection,
    scope: Scope,
    repository_id: str,
    change: Callable[[ManagedRepository], ManagedRepository],
) -> ManagedRepository:
    """Put what ``change`` makes of a repository in its place, and return it.

    Raises:
        RepositoryNotFound: If the tenant has none of this id, or it was removed.
    """
    changed = change(repository_from_row(locked_repository(connection, scope, repository_id)))
    scope.change(connection, REPOSITORIES, change_to_row(changed), id=repository_id)
    return changed


def no_repository(name: str) -> str:
    """Return the sentence that there is no such repository."""
    return f"there is no repository '{to_line(name[:_SHOWN_CHARACTERS])}' here"
