"""What servers ask about jobs, besides what every store can say."""

from collections.abc import Sequence
from typing import final

from sqlalchemy import func, select
from typing_extensions import override

from backapp_core.plugin_api import Job
from backapp_core.server_api import FleetJobs
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.jobs import SqlJobs
from backapp_plugins.stores.sql.rows import is_id, job_from_body
from backapp_plugins.stores.sql.tables import JOBS


@final
@again_after_collisions
class SqlFleetJobs(SqlJobs, FleetJobs):
    """The jobs of one tenant's machines."""

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
