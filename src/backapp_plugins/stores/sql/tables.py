"""The tables, as the newest migration leaves them.

Every owned row names its tenant. Model values are kept whole as JSON in ``body``; what is searched,
sorted or unique stands in columns besides. Moments are microseconds since 1970 in UTC. Bodies and
events are ASCII (JSON escapes the rest), so that text which is no valid Unicode, such as a damaged
file name in an error, survives.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

DEFAULT_TENANT = 1

TENANTS = Table(
    "tenants",
    METADATA,
    Column("id", Integer, nullable=False, autoincrement=False),
    Column("name", String(64), nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("name"),
)

JOBS = Table(
    "jobs",
    METADATA,
    Column("tenant_id", Integer, ForeignKey("tenants.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "name"),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("tenant_id", Integer, ForeignKey("tenants.id"), nullable=False),
    Column("id", String(64), nullable=False),
    Column("job_name", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    # A missing due_at differs from every other, so runs that people ask for never collide.
    UniqueConstraint("tenant_id", "job_name", "due_at"),
    Index(None, "tenant_id", "requested_at", "id"),
    Index(None, "tenant_id", "job_name", "requested_at", "id"),
    Index(None, "tenant_id", "state", "requested_at", "id"),
)

RUN_EVENTS = Table(
    "run_events",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("happened_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "run_id", "sequence"),
    ForeignKeyConstraint(["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"]),
)
