"""A store in an SQLite file, through SQLAlchemy."""

from collections.abc import Sequence

from backapp_core.plugin_api import PartMissing, Store, StoreKind, Surroundings, hookimpl


def open_store(url: str, surroundings: Surroundings) -> Store:
    """Open the store in the file that ``url`` names by its absolute path, creating it as needed.

    Raises:
        PartMissing: If SQLAlchemy or alembic is not installed.
    """
    try:
        from backapp_plugins.stores.sql.open import open_sqlite
    except ModuleNotFoundError as error:
        raise PartMissing(
            f"the sql store needs {error.name}; install it with: pip install 'backapp[sql]'"
        ) from error
    return open_sqlite(url, surroundings)


@hookimpl
def backapp_stores() -> Sequence[StoreKind]:
    """Offer the store in SQLite."""
    return (StoreKind(name="sql", schemes=frozenset({"sqlite"}), open=open_store),)
