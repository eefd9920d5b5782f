"""Machines and repositories that were taken off the lists; restores are of repositories."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add columns, let names and places be used again, and say of what restores are."""
    op.add_column("agents", sa.Column("removed_at", sa.BigInteger, nullable=True))
    # SQLite drops no constraint from a table; it is made anew there.
    with op.batch_alter_table("repositories") as repositories:
        repositories.add_column(sa.Column("removed_at", sa.BigInteger, nullable=True))
        repositories.drop_constraint("uq_repositories_tenant_id_name", type_="unique")
        repositories.drop_constraint("uq_repositories_place_hash", type_="unique")
    there = sa.text("removed_at IS NULL")
    for columns in (["tenant_id", "name"], ["place_hash"]):
        op.create_index(
            f"ix_repositories_{'_'.join(columns)}",
            "repositories",
            columns,
            unique=True,
            sqlite_where=there,
            postgresql_where=there,
        )
    _restores_name_repositories()


def _restores_name_repositories() -> None:
    """Take the repository from the run, where a machine has begun it, or else from its job."""
    runs = sa.table(
        "runs",
        sa.column("tenant_id"),
        sa.column("id"),
        sa.column("kind"),
        sa.column("job_name"),
        sa.column("repository_id"),
        sa.column("body"),
    )
    jobs = sa.table("jobs", sa.column("tenant_id"), sa.column("name"), sa.column("repository_id"))
    is_its = sa.and_(jobs.c.tenant_id == runs.c.tenant_id, jobs.c.name == runs.c.job_name)
    query = (
        sa.select(runs.c.tenant_id, runs.c.id, runs.c.repository_id, runs.c.body)
        .add_columns(jobs.c.repository_id.label("of_job"))
        .select_from(runs.outerjoin(jobs, is_its))
        .where(runs.c.kind == "restore")
    )
    connection = op.get_bind()
    for row in connection.execute(query).all():
        repository_id = row.repository_id or row.of_job or ""
        body = json.loads(row.body) | {"job_name": ""}
        if body.get("restore"):
            body["restore"]["repository_id"] = repository_id
        changed = {
            "job_name": "",
            "repository_id": repository_id,
            "body": json.dumps(body, separators=(",", ":")),
        }
        connection.execute(
            sa.update(runs)
            .where(runs.c.tenant_id == row.tenant_id, runs.c.id == row.id)
            .values(**changed)
        )
