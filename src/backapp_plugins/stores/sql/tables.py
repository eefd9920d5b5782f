"""The tables, as the newest migration leaves them.

Every owned row names its tenant. Model values are kept whole as JSON in ``body``; what is searched,
sorted or unique stands in columns besides. Moments are microseconds since 1970 in UTC. Bodies and
events are ASCII (JSON escapes the rest), so that text which is no valid Unicode, such as a damaged
file name in an error, survives.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    false,
    text,
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


def _word(name: str, length: int = 64, *, default: str | None = None) -> Column[str]:
    # Everywhere sorted and compared by code points, as Python does.
    kind = String(length).with_variant(String(length, collation="C"), "postgresql")
    return Column(name, kind, nullable=False, server_default=default)


def _moment(name: str, *, is_optional: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=is_optional)


def _body(name: str = "body", *, is_optional: bool = False) -> Column[str]:
    return Column(name, Text, nullable=is_optional)


def _tenant() -> Column[int]:
    return Column("tenant_id", Integer, ForeignKey("tenants.id"), nullable=False)


def _part_of(table: str, column: str) -> ForeignKeyConstraint:
    """Refer to another thing of the same tenant."""
    return ForeignKeyConstraint(["tenant_id", column], [f"{table}.tenant_id", f"{table}.id"])


def _index_while(condition: str, *columns: str) -> Index:
    """Let no two of the rows for which ``condition`` holds have the same values."""
    where = text(condition)
    return Index(None, *columns, unique=True, sqlite_where=where, postgresql_where=where)


TENANTS = Table(
    "tenants",
    METADATA,
    Column("id", Integer, nullable=False, autoincrement=False),
    _word("name"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("name"),
)

# --- jobs and runs

JOBS = Table(
    "jobs",
    METADATA,
    _tenant(),
    _word("name"),
    _body(),
    # Of the managed repository that it fills.
    _word("repository_id", default=""),
    PrimaryKeyConstraint("tenant_id", "name"),
    Index(None, "tenant_id", "repository_id", "name"),
)

# Of a run, its columns are the truth where they and the body tell the same thing.
RUNS = Table(
    "runs",
    METADATA,
    _tenant(),
    _word("id"),
    _word("job_name"),
    _word("state", 16),
    _moment("requested_at"),
    _moment("due_at", is_optional=True),
    _body(),
    _word("agent_id", default=""),
    _word("kind", 16, default="backup"),
    _moment("started_at", is_optional=True),
    _moment("cancel_wished_at", is_optional=True),
    # Who has it: the lease is over when it is missing or past. Fences only ever grow.
    Column("fence", Integer, nullable=False, server_default="0"),
    _moment("lease_until", is_optional=True),
    _word("instance", default=""),
    _word("repository_id", default=""),
    _body("progress", is_optional=True),
    # Of the objects of a snapshot that is told of in parts; see `acknowledgements.Seen`.
    _body("seen", is_optional=True),
    PrimaryKeyConstraint("tenant_id", "id"),
    # A missing due_at differs from every other, so runs that people ask for never collide.
    UniqueConstraint("tenant_id", "job_name", "due_at"),
    Index(None, "tenant_id", "requested_at", "id"),
    Index(None, "tenant_id", "job_name", "requested_at", "id"),
    Index(None, "tenant_id", "state", "requested_at", "id"),
    Index(None, "tenant_id", "job_name", "state", "requested_at", "id"),
    Index(None, "tenant_id", "agent_id", "requested_at", "id"),
    Index(None, "tenant_id", "agent_id", "state", "requested_at", "id"),
)

RUN_EVENTS = Table(
    "run_events",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("run_id"),
    Column("sequence", Integer, nullable=False),
    _moment("happened_at"),
    _body(),
    PrimaryKeyConstraint("tenant_id", "run_id", "sequence"),
    _part_of("runs", "run_id"),
)

# --- people

USERS = Table(
    "users",
    METADATA,
    _tenant(),
    _word("id"),
    _word("email", 254),
    _word("role", 16),
    Column("is_enabled", Boolean, nullable=False),
    _body("password_hash"),
    _body(),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("email"),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    _word("token_hash"),
    Column("tenant_id", Integer, nullable=False),
    _word("user_id"),
    _moment("created_at"),
    _moment("last_used_at"),
    _moment("expires_at"),
    PrimaryKeyConstraint("token_hash"),
    _part_of("users", "user_id"),
    Index(None, "tenant_id", "user_id"),
    Index(None, "expires_at"),
)

API_TOKENS = Table(
    "api_tokens",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("user_id"),
    _word("id"),
    _word("token_hash"),
    _moment("created_at"),
    _moment("expires_at", is_optional=True),
    _moment("last_used_at", is_optional=True),
    _body(),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("token_hash"),
    _part_of("users", "user_id"),
    Index(None, "tenant_id", "user_id", "created_at"),
)

INVITATIONS = Table(
    "invitations",
    METADATA,
    _tenant(),
    _word("id"),
    _word("token_hash"),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("used_at", is_optional=True),
    _body(),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("token_hash"),
)

# Of wrong passwords; of nobody's tenant, since nobody is known yet.
FAILURES = Table(
    "failures",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), autoincrement=True),
    _word("key_hash"),
    _moment("failed_at"),
    PrimaryKeyConstraint("id"),
    Index(None, "key_hash", "failed_at"),
    Index(None, "failed_at"),
)

# --- machines

AGENTS = Table(
    "agents",
    METADATA,
    _tenant(),
    _word("id"),
    _word("name"),
    _word("key_hash"),
    _moment("enrolled_at"),
    _moment("revoked_at", is_optional=True),
    _moment("last_seen_at", is_optional=True),
    _word("instance", default=""),
    _body("report", is_optional=True),
    _moment("removed_at", is_optional=True),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("key_hash"),
    Index(None, "tenant_id", "name", "enrolled_at", "id"),
    # The name of a revoked machine may be used again.
    _index_while("revoked_at IS NULL", "tenant_id", "name"),
)

ENROLMENTS = Table(
    "enrolments",
    METADATA,
    _tenant(),
    _word("id"),
    _word("token_hash"),
    _moment("created_at"),
    _moment("expires_at"),
    _moment("used_at", is_optional=True),
    _word("agent_id", default=""),
    _body(),
    PrimaryKeyConstraint("tenant_id", "id"),
    UniqueConstraint("token_hash"),
)

QUESTIONS = Table(
    "questions",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("id"),
    _word("agent_id"),
    _moment("asked_at"),
    _moment("expires_at"),
    _moment("taken_at", is_optional=True),
    _body(),
    _body("answer", is_optional=True),
    PrimaryKeyConstraint("tenant_id", "id"),
    _part_of("agents", "agent_id"),
    Index(None, "tenant_id", "agent_id", "asked_at"),
    Index(None, "expires_at"),
)

# --- managed repositories

REPOSITORIES = Table(
    "repositories",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("id"),
    _word("name"),
    _word("agent_id"),
    # Hash of what no second repository of the installation may stand at.
    _word("place_hash"),
    _body(),
    Column("is_protected", Boolean, nullable=False, server_default=false()),
    _moment("removed_at", is_optional=True),
    PrimaryKeyConstraint("tenant_id", "id"),
    _part_of("agents", "agent_id"),
    # Name and place of one that was removed may be used again.
    _index_while("removed_at IS NULL", "tenant_id", "name"),
    _index_while("removed_at IS NULL", "place_hash"),
    Index(None, "tenant_id", "agent_id", "name"),
    Index(None, "tenant_id", "is_protected", "name"),
)

INIT_GRANTS = Table(
    "init_grants",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("repository_id"),
    _word("name", 200),
    _word("sha256"),
    PrimaryKeyConstraint("tenant_id", "repository_id", "name"),
    _part_of("repositories", "repository_id"),
)

LOCKS = Table(
    "locks",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("repository_id"),
    _word("name", 200),
    PrimaryKeyConstraint("tenant_id", "repository_id", "name"),
    _part_of("repositories", "repository_id"),
)

RECEIPTS = Table(
    "receipts",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("repository_id"),
    Column("sequence", Integer, nullable=False, autoincrement=False),
    _word("run_id"),
    _word("snapshot_id"),
    _body(),
    PrimaryKeyConstraint("tenant_id", "repository_id", "sequence"),
    UniqueConstraint("tenant_id", "repository_id", "run_id", "snapshot_id"),
    _part_of("repositories", "repository_id"),
    _part_of("runs", "run_id"),
)

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("tenant_id", Integer, nullable=False),
    _word("repository_id"),
    _word("id"),
    _moment("taken_at"),
    _body(),
    PrimaryKeyConstraint("tenant_id", "repository_id", "id"),
    _part_of("repositories", "repository_id"),
    Index(None, "tenant_id", "repository_id", "taken_at", "id"),
)
