"""The managed repositories of one tenant, in tables; every method is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

from attrs import evolve
from sqlalchemy import Connection, Select, bindparam, case, func, or_, select, tuple_
from typing_extensions import override

from backapp_core.plugin_api import (
    AgentNotFound,
    Enforcement,
    InvalidName,
    NameTaken,
    RepositoryNotFound,
    Snapshot,
    SnapshotNotFound,
    to_line,
)
from backapp_core.server_api import ManagedRepository, Receipt, Repositories, RepositoryStanding
from backapp_plugins.stores.sql.agents import no_agent
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.handing_over import give
from backapp_plugins.stores.sql.held_repositories import (
    change_repository,
    held_row,
    locked_repository,
    no_repository,
)
from backapp_plugins.stores.sql.repository_rows import (
    change_to_row,
    folder_hash,
    repository_from_row,
    repository_to_row,
)
from backapp_plugins.stores.sql.rows import from_body, is_id
from backapp_plugins.stores.sql.scopes import Scope, part_by_name
from backapp_plugins.stores.sql.still_needed import check_unused
from backapp_plugins.stores.sql.tables import (
    AGENTS,
    INIT_GRANTS,
    LOCKS,
    RECEIPTS,
    REPOSITORIES,
    SNAPSHOTS,
)

_SHOWN_CHARACTERS = 64
_LONGEST_NAME = 200


@final
@again_after_collisions
class SqlRepositories(Repositories):
    """The managed repositories of one tenant."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._database = scope.database

    @override
    def add(self, repository: ManagedRepository) -> None:
        row = repository_to_row(repository, self._scope.tenant_id)
        if not is_id(repository.agent_id):
            raise AgentNotFound(no_agent(repository.agent_id))
        with self._database.writing() as connection:
            # Held, so that it is not revoked meanwhile.
            agent = self._scope.lock(connection, AGENTS, id=repository.agent_id)
            if agent is None or agent.revoked_at is not None:
                raise AgentNotFound(no_agent(repository.agent_id))
            if not self._scope.add(connection, REPOSITORIES, row):
                raise self._taken(connection, repository)

    @override
    def get(self, name: str) -> ManagedRepository:
        if not is_id(name):
            raise RepositoryNotFound(no_repository(name))
        query = (
            select(REPOSITORIES)
            .where(
                self._scope.of(REPOSITORIES),
                or_(REPOSITORIES.c.id == name, REPOSITORIES.c.name == name),
            )
            # Of several that had the name, the one that has it now, or the last that had.
            .order_by(
                (REPOSITORIES.c.id == name).desc(),
                REPOSITORIES.c.removed_at.is_(None).desc(),
                REPOSITORIES.c.removed_at.desc(),
            )
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise RepositoryNotFound(no_repository(name))
        return repository_from_row(row)

    @override
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[ManagedRepository]:
        there = select(REPOSITORIES).where(self._scope.of(REPOSITORIES, removed_at=None))
        query = part_by_name(there, REPOSITORIES, after, limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [repository_from_row(row) for row in rows]

    @override
    def removed(self, *, after: str = "", limit: int | None = None) -> Sequence[ManagedRepository]:
        in_order = (REPOSITORIES.c.name, REPOSITORIES.c.id)
        query = (
            select(REPOSITORIES)
            .where(self._scope.of(REPOSITORIES), REPOSITORIES.c.removed_at.is_not(None))
            .order_by(*in_order)
        )
        if limit is not None:
            query = query.limit(max(limit, 0))
        with self._database.reading() as connection:
            if after:
                last = self._row_or_refuse(connection, after)
                query = query.where(tuple_(*in_order) > tuple_(last.name, last.id))
            rows = connection.execute(query).all()
        return [repository_from_row(row) for row in rows]

    @override
    def remove(self, repository_id: str) -> ManagedRepository:
        with self._database.writing() as connection:
            # Held, so that no job and no run begins to need it.
            row = held_row(connection, self._scope, repository_id)
            repository = repository_from_row(row)
            if row.removed_at is not None:
                return repository
            check_unused(connection, self._scope, repository)
            removed = evolve(repository, removed_at=self._database.now(connection))
            self._scope.change(connection, REPOSITORIES, change_to_row(removed), id=row.id)
        return removed

    @override
    def hand_over(self, repository_id: str, agent_id: str) -> ManagedRepository:
        with self._database.writing() as connection:
            given = give(connection, self._scope, repository_id, agent_id)
            self._database.announce(connection, "agents", agent_id)
        return given

    @override
    def find(self, ids: Collection[str]) -> Mapping[str, ManagedRepository]:
        wanted = {one for one in ids if is_id(one)}
        if not wanted:
            return {}
        query = select(REPOSITORIES).where(
            self._scope.of(REPOSITORIES), REPOSITORIES.c.id.in_(wanted)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {row.id: repository_from_row(row) for row in rows}

    @override
    def standing(self, *, limit: int) -> RepositoryStanding:
        is_protected = REPOSITORIES.c.is_protected
        is_there = self._scope.of(REPOSITORIES, removed_at=None)
        count = select(func.count(), func.count(case((is_protected, 1)))).where(is_there)
        query = (
            select(REPOSITORIES)
            .where(is_there, ~is_protected)
            .order_by(REPOSITORIES.c.name)
            .limit(max(limit, 0))
        )
        with self._database.reading() as connection:
            there, protected = connection.execute(count).one()
            rows = connection.execute(query).all()
        return RepositoryStanding(there, protected, tuple(map(repository_from_row, rows)))

    @override
    def is_folder_taken(self, agent_id: str, folder: str) -> bool:
        place_hash = folder_hash(self._scope.tenant_id, agent_id, folder)
        with self._database.reading() as connection:
            taken = {"place_hash": place_hash, "removed_at": None}
            return self._scope.one(connection, REPOSITORIES, **taken) is not None

    @override
    def record_enforcement(self, repository_id: str, enforces: Enforcement) -> None:
        with self._database.writing() as connection:
            change_repository(
                connection, self._scope, repository_id, lambda one: evolve(one, enforces=enforces)
            )

    @override
    def take_init_grant(self, repository_id: str, name: str, sha256: str) -> bool:
        if not _is_object_name(name) or not is_id(sha256):
            raise InvalidName(f"'{to_line(name[:_SHOWN_CHARACTERS])}' cannot be granted")
        wanted = {"repository_id": repository_id, "name": name}
        with self._database.writing() as connection:
            locked_repository(connection, self._scope, repository_id)
            taken = self._scope.one(connection, INIT_GRANTS, **wanted)
            if taken is not None:
                return bool(taken.sha256 == sha256)
            return self._scope.add(connection, INIT_GRANTS, {**wanted, "sha256": sha256})

    @override
    def add_locks(self, repository_id: str, names: Sequence[str]) -> None:
        for name in names:
            if not _is_object_name(name):
                raise InvalidName(f"'{to_line(name[:_SHOWN_CHARACTERS])}' is no name of a lock")
        with self._database.writing() as connection:
            locked_repository(connection, self._scope, repository_id)
            for name in sorted(set(names)):
                self._scope.add(connection, LOCKS, {"repository_id": repository_id, "name": name})

    @override
    def owns_locks(self, repository_id: str, names: Sequence[str]) -> bool:
        wanted = set(names)
        if not is_id(repository_id) or not all(_is_object_name(name) for name in wanted):
            return False
        if not wanted:
            return True
        query = (
            select(func.count())
            .select_from(LOCKS)
            .where(self._scope.of(LOCKS, repository_id=repository_id), LOCKS.c.name.in_(wanted))
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one() == len(wanted)

    @override
    def receipts(
        self, repository_id: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[Receipt]:
        query = self._receipts(repository_id).order_by(RECEIPTS.c.sequence.desc())
        if before is not None:
            query = query.where(RECEIPTS.c.sequence < before)
        return self._found_receipts(repository_id, query.limit(max(limit, 0)))

    @override
    def receipts_after(
        self, repository_id: str, sequence: int, *, limit: int = 1000
    ) -> Sequence[Receipt]:
        query = self._receipts(repository_id).where(RECEIPTS.c.sequence > sequence)
        query = query.order_by(RECEIPTS.c.sequence).limit(max(limit, 0))
        return self._found_receipts(repository_id, query)

    def _receipts(self, repository_id: str) -> Select[str]:
        return select(RECEIPTS.c.body).where(self._scope.of(RECEIPTS, repository_id=repository_id))

    def _found_receipts(self, repository_id: str, query: Select[str]) -> Sequence[Receipt]:
        with self._database.reading() as connection:
            self._row_or_refuse(connection, repository_id)
            bodies = connection.execute(query).scalars().all()
        return [from_body(body, Receipt, "receipt") for body in bodies]

    @override
    def snapshots(
        self, repository_id: str, *, before: str | None = None, limit: int = 100
    ) -> Sequence[Snapshot]:
        query = (
            select(SNAPSHOTS.c.body)
            .where(self._scope.of(SNAPSHOTS, repository_id=repository_id))
            .order_by(SNAPSHOTS.c.taken_at.desc(), SNAPSHOTS.c.id.desc())
            .limit(max(limit, 0))
        )
        with self._database.reading() as connection:
            found = self._row_or_refuse(connection, repository_id)
            if before is not None:
                last = self._snapshot_or_refuse(connection, found, before)
                query = query.where(
                    tuple_(SNAPSHOTS.c.taken_at, SNAPSHOTS.c.id) < tuple_(last.taken_at, last.id)
                )
            bodies = connection.execute(query).scalars().all()
        return [from_body(body, Snapshot, "snapshot") for body in bodies]

    @override
    def snapshot(self, repository_id: str, snapshot_id: str) -> Snapshot:
        with self._database.reading() as connection:
            found = self._row_or_refuse(connection, repository_id)
            row = self._snapshot_or_refuse(connection, found, snapshot_id)
        return from_body(row.body, Snapshot, "snapshot")

    @override
    def latest_snapshots(
        self, ids: Collection[str], *, each: int
    ) -> Mapping[str, Sequence[Snapshot]]:
        # One short walk along the index for each: whatever finds all at once reads all of them.
        newest = (
            select(SNAPSHOTS.c.body)
            .where(
                self._scope.of(SNAPSHOTS), SNAPSHOTS.c.repository_id == bindparam("repository_id")
            )
            .order_by(SNAPSHOTS.c.taken_at.desc(), SNAPSHOTS.c.id.desc())
            .limit(max(each, 0))
        )
        with self._database.reading() as connection:
            bodies = {
                one: connection.execute(newest, {"repository_id": one}).scalars().all()
                for one in ids
                if is_id(one)
            }
        return {
            one: tuple(from_body(body, Snapshot, "snapshot") for body in bodies.get(one, ()))
            for one in ids
        }

    def _row_or_refuse(self, connection: Connection, repository_id: str) -> Any:
        if not is_id(repository_id):
            raise RepositoryNotFound(no_repository(repository_id))
        row = self._scope.one(connection, REPOSITORIES, id=repository_id)
        if row is None:
            raise RepositoryNotFound(no_repository(repository_id))
        return row

    def _snapshot_or_refuse(self, connection: Connection, repository: Any, snapshot_id: str) -> Any:
        row = None
        if is_id(snapshot_id):
            row = self._scope.one(
                connection, SNAPSHOTS, repository_id=repository.id, id=snapshot_id
            )
        if row is None:
            shown = to_line(snapshot_id[:_SHOWN_CHARACTERS])
            raise SnapshotNotFound(f"repository '{repository.name}' has no snapshot '{shown}'")
        return row

    def _taken(self, connection: Connection, repository: ManagedRepository) -> NameTaken:
        for taken in ({"name": repository.name, "removed_at": None}, {"id": repository.id}):
            if self._scope.one(connection, REPOSITORIES, **taken) is not None:
                return NameTaken(f"a repository called '{repository.name}' exists already")
        return NameTaken(f"a repository at {to_line(repository.address)} exists already")


def _is_object_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable()
