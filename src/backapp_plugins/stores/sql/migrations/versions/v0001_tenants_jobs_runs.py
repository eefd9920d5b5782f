"""Tenants (one by default), jobs, runs and what happened during runs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _word(name: str, length: int) -> sa.Column[str]:
    # Everywhere sorted and compared by code points.
    kind = sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    """Make the first tables."""
    tenants = op.create_table(
        "tenants",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        _word("name", 64),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
        sa.UniqueConstraint("name", name="uq_tenants_name"),
    )
    op.bulk_insert(tenants, [{"id": 1, "name": "default"}])
    op.create_table(
        "jobs",
        sa.Column("tenant_id", sa.Integer, nullable=False),
        _word("name", 64),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name", name="pk_jobs"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_jobs_tenant_id_tenants"),
    )
    op.create_table(
        "runs",
        sa.Column("tenant_id", sa.Integer, nullable=False),
        _word("id", 64),
        _word("job_name", 64),
        _word("state", 16),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_runs"),
        sa.UniqueConstraint(
            "tenant_id", "job_name", "due_at", name="uq_runs_tenant_id_job_name_due_at"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_runs_tenant_id_tenants"),
    )
    for columns in (
        ["tenant_id", "requested_at", "id"],
        ["tenant_id", "job_name", "requested_at", "id"],
        ["tenant_id", "state", "requested_at", "id"],
    ):
        op.create_index(f"ix_runs_{'_'.join(columns)}", "runs", columns)
    op.create_table(
        "run_events",
        sa.Column("tenant_id", sa.Integer, nullable=False),
        _word("run_id", 64),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("happened_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "sequence", name="pk_run_events"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"],
            ["runs.tenant_id", "runs.id"],
            name="fk_run_events_tenant_id_run_id_runs",
        ),
    )
