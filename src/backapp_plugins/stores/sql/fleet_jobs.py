"""What servers ask about jobs, besides what every store can say."""

from collections.abc import Mapping, Sequence
from typing import Any, final

from sqlalchemy import Connection, func, select
from typing_extensions import override

from backapp_core.plugin_api import Job
from backapp_core.server_api import FleetJobs
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.jobs import SqlJobs
from backapp_plugins.stores.sql.repository_rows import check_there
from backapp_plugins.stores.sql.rows import is_id, job_from_body
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import JOBS, REPOSITORIES


@final
@again_after_collisions
class SqlFleetJobs(SqlJobs, FleetJobs):
    """The jobs of one tenant's machines.

    A server looks at all of them every few seconds, so what was read then is kept, as long as it
    does not change, and no longer than there is such a job.
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self._kept: Mapping[str, Job] = {}

    @override
    def count(self) -> int:
        query = select(func.count()).select_from(JOBS).where(self._scope.of(JOBS))
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one()

    @override
    def filling(self, repository_id: str, *, limit: int) -> Sequence[Job]:
        if not is_id(repository_id):
            return []
        query = (
            select(JOBS.c.body)
            .where(self._scope.of(JOBS, repository_id=repository_id))
            .order_by(JOBS.c.name)
            .limit(max(limit, 0))
        )
        with self._database.reading() as connection:
            bodies = connection.execute(query).scalars().all()
        return [job_from_body(body) for body in bodies]

    @override
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[Job]:
        if after or limit is not None:
            return super().list(after=after, limit=limit)
        former = self._kept
        # Put in place at once, since several threads may be here.
        kept = {body: former.get(body) or job_from_body(body) for body in self._bodies("", None)}
        self._kept = kept
        return [*kept.values()]

    @override
    def _hold(self, connection: Connection, row: Mapping[str, Any]) -> None:
        if row["repository_id"]:
            found = self._scope.lock(connection, REPOSITORIES, id=row["repository_id"])
            if found is not None:
                check_there(found)
