"""What servers remember: people, machines, managed repositories, and leases of runs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns to runs and the tables of servers."""
    _extend_runs()
    _make_people()
    _make_machines()
    _make_repositories()


def _word(name: str, length: int = 64, default: str | None = None) -> sa.Column[str]:
    kind = sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=False, server_default=default)


def _moment(name: str, *, is_optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=is_optional)


def _body(name: str = "body", *, is_optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=is_optional)


def _tenant() -> sa.Column[int]:
    return sa.Column("tenant_id", sa.Integer, nullable=False)


def _make(table: str, primary_key: list[str], *parts: Any) -> None:
    op.create_table(table, *parts, sa.PrimaryKeyConstraint(*primary_key, name=f"pk_{table}"))


def _of_tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id"], ["tenants.id"], name=f"fk_{table}_tenant_id_tenants"
    )


def _part_of(table: str, other: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id", column],
        [f"{other}.tenant_id", f"{other}.id"],
        name=f"fk_{table}_tenant_id_{column}_{other}",
    )


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _index(table: str, *columns: str, **options: Any) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns), **options)


def _extend_runs() -> None:
    for column in (
        _word("agent_id", default=""),
        _word("kind", 16, default="backup"),
        _moment("started_at", is_optional=True),
        _moment("cancel_wished_at", is_optional=True),
        sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
        _moment("lease_until", is_optional=True),
        _word("instance", default=""),
        _word("repository_id", default=""),
        _body("progress", is_optional=True),
    ):
        op.add_column("runs", column)
    _fill_started_at()
    _index("runs", "tenant_id", "job_name", "state", "requested_at", "id")
    _index("runs", "tenant_id", "agent_id", "requested_at", "id")
    _index("runs", "tenant_id", "agent_id", "state", "requested_at", "id")


def _make_people() -> None:
    _make(
        "users",
        ["tenant_id", "id"],
        *(_tenant(), _word("id"), _word("email", 254), _word("role", 16)),
        sa.Column("is_enabled", sa.Boolean, nullable=False),
        *(_body("password_hash"), _body()),
        *(_unique("users", "email"), _of_tenant("users")),
    )
    _make(
        "sessions",
        ["token_hash"],
        *(_word("token_hash"), _tenant(), _word("user_id")),
        *(_moment("created_at"), _moment("last_used_at"), _moment("expires_at")),
        _part_of("sessions", "users", "user_id"),
    )
    _index("sessions", "tenant_id", "user_id")
    _index("sessions", "expires_at")
    _make(
        "api_tokens",
        ["tenant_id", "id"],
        *(_tenant(), _word("user_id"), _word("id"), _word("token_hash"), _moment("created_at")),
        *(_moment("expires_at", is_optional=True), _moment("last_used_at", is_optional=True)),
        *(_body(), _unique("api_tokens", "token_hash")),
        _part_of("api_tokens", "users", "user_id"),
    )
    _index("api_tokens", "tenant_id", "user_id", "created_at")
    _make(
        "invitations",
        ["tenant_id", "id"],
        *(_tenant(), _word("id"), _word("token_hash"), _moment("created_at")),
        *(_moment("expires_at"), _moment("used_at", is_optional=True), _body()),
        *(_unique("invitations", "token_hash"), _of_tenant("invitations")),
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    _make(
        "failures",
        ["id"],
        sa.Column("id", number, autoincrement=True, nullable=False),
        *(_word("key_hash"), _moment("failed_at")),
    )
    _index("failures", "key_hash", "failed_at")
    _index("failures", "failed_at")


def _make_machines() -> None:
    _make(
        "agents",
        ["tenant_id", "id"],
        *(_tenant(), _word("id"), _word("name"), _word("key_hash"), _moment("enrolled_at")),
        *(_moment("revoked_at", is_optional=True), _moment("last_seen_at", is_optional=True)),
        *(_word("instance", default=""), _body("report", is_optional=True)),
        *(_unique("agents", "key_hash"), _of_tenant("agents")),
    )
    alive = sa.text("revoked_at IS NULL")
    _index("agents", "tenant_id", "name", unique=True, sqlite_where=alive, postgresql_where=alive)
    _make(
        "enrolments",
        ["tenant_id", "id"],
        *(_tenant(), _word("id"), _word("token_hash"), _moment("created_at")),
        *(_moment("expires_at"), _moment("used_at", is_optional=True)),
        *(_word("agent_id", default=""), _body()),
        *(_unique("enrolments", "token_hash"), _of_tenant("enrolments")),
    )
    _make(
        "questions",
        ["tenant_id", "id"],
        *(_tenant(), _word("id"), _word("agent_id"), _moment("asked_at"), _moment("expires_at")),
        *(_moment("taken_at", is_optional=True), _body(), _body("answer", is_optional=True)),
        _part_of("questions", "agents", "agent_id"),
    )
    _index("questions", "tenant_id", "agent_id", "asked_at")
    _index("questions", "expires_at")


def _make_repositories() -> None:
    _make(
        "repositories",
        ["tenant_id", "id"],
        *(_tenant(), _word("id"), _word("name"), _word("agent_id"), _word("place_hash"), _body()),
        _unique("repositories", "tenant_id", "name"),
        _unique("repositories", "place_hash"),
        _part_of("repositories", "agents", "agent_id"),
    )
    _index("repositories", "tenant_id", "agent_id", "name")
    of_repository = {
        table: _part_of(table, "repositories", "repository_id")
        for table in ("init_grants", "locks", "receipts", "snapshots")
    }
    _make(
        "init_grants",
        ["tenant_id", "repository_id", "name"],
        *(_tenant(), _word("repository_id"), _word("name", 200), _word("sha256")),
        of_repository["init_grants"],
    )
    _make(
        "locks",
        ["tenant_id", "repository_id", "name"],
        *(_tenant(), _word("repository_id"), _word("name", 200), of_repository["locks"]),
    )
    _make(
        "receipts",
        ["tenant_id", "repository_id", "sequence"],
        *(_tenant(), _word("repository_id")),
        sa.Column("sequence", sa.Integer, nullable=False, autoincrement=False),
        *(_word("run_id"), _word("snapshot_id"), _body()),
        _unique("receipts", "tenant_id", "repository_id", "run_id", "snapshot_id"),
        *(of_repository["receipts"], _part_of("receipts", "runs", "run_id")),
    )
    _make(
        "snapshots",
        ["tenant_id", "repository_id", "id"],
        *(_tenant(), _word("repository_id"), _word("id"), _moment("taken_at"), _body()),
        of_repository["snapshots"],
    )
    _index("snapshots", "tenant_id", "repository_id", "taken_at", "id")


def _fill_started_at() -> None:
    """Take the moment from the body, where alone it stood."""
    runs = sa.table(
        "runs", sa.column("tenant_id"), sa.column("id"), sa.column("body"), sa.column("started_at")
    )
    connection = op.get_bind()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for tenant_id, run_id, body in connection.execute(
        sa.select(runs.c.tenant_id, runs.c.id, runs.c.body)
    ).all():
        started = json.loads(body).get("started_at")
        if started is None:
            continue
        moment = (datetime.fromisoformat(started) - epoch) // timedelta(microseconds=1)
        connection.execute(
            sa.update(runs)
            .where(runs.c.tenant_id == tenant_id, runs.c.id == run_id)
            .values(started_at=moment)
        )
