"""What lists of many things are cut, counted and found by, and what was seen before a receipt."""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SCHEME = "backapp:"


def upgrade() -> None:
    """Add columns and indexes; what they hold is taken from the bodies."""
    op.add_column("runs", sa.Column("seen", sa.Text, nullable=True))
    word = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.add_column("jobs", sa.Column("repository_id", word, nullable=False, server_default=""))
    op.add_column(
        "repositories",
        sa.Column("is_protected", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    _fill("jobs", "name", "repository_id", _repository_id)
    _fill("repositories", "id", "is_protected", _is_protected)
    for table, *columns in (
        ("jobs", "tenant_id", "repository_id", "name"),
        ("repositories", "tenant_id", "is_protected", "name"),
        ("agents", "tenant_id", "name", "enrolled_at", "id"),
    ):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def _repository_id(job: dict[str, Any]) -> str:
    address = str(job["repository"])
    return address.removeprefix(_SCHEME)[:64] if address.startswith(_SCHEME) else ""


def _is_protected(repository: dict[str, Any]) -> bool:
    return repository.get("sheet_confirmed_at") is not None


def _fill(table: str, key: str, column: str, value: Callable[[dict[str, Any]], object]) -> None:
    rows = sa.table(
        table, sa.column("tenant_id"), sa.column(key), sa.column("body"), sa.column(column)
    )
    connection = op.get_bind()
    for tenant_id, name, body in connection.execute(
        sa.select(rows.c.tenant_id, rows.c[key], rows.c.body)
    ).all():
        connection.execute(
            sa.update(rows)
            .where(rows.c.tenant_id == tenant_id, rows.c[key] == name)
            .values({column: value(json.loads(body))})
        )
