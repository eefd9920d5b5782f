"""Jobs in a table; every method is one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select
from typing_extensions import override

from backapp_core.plugin_api import (
    InvalidName,
    Job,
    JobNotFound,
    Jobs,
    NameTaken,
    check_job_name,
    to_line,
)
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.rows import job_from_body, job_to_row
from backapp_plugins.stores.sql.scopes import Scope, part_by_name
from backapp_plugins.stores.sql.tables import JOBS

_SHOWN_CHARACTERS = 64


@again_after_collisions
class SqlJobs(Jobs):
    """The jobs of one tenant."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._database = scope.database

    @override
    def add(self, job: Job) -> None:
        row = job_to_row(job)
        with self._database.writing() as connection:
            self._hold(connection, row)
            if not self._scope.add(connection, JOBS, row):
                raise NameTaken(f"a job called '{job.name}' exists already")

    @override
    def get(self, name: str) -> Job:
        _check_name(name)
        with self._database.reading() as connection:
            row = self._scope.one(connection, JOBS, name=name)
        if row is None:
            raise _no_job(name)
        return job_from_body(row.body)

    @override
    def list(self, *, after: str = "", limit: int | None = None) -> Sequence[Job]:
        return [job_from_body(body) for body in self._bodies(after, limit)]

    def _bodies(self, after: str, limit: int | None) -> Sequence[str]:
        query = part_by_name(select(JOBS.c.body).where(self._scope.of(JOBS)), JOBS, after, limit)
        with self._database.reading() as connection:
            return connection.execute(query).scalars().all()

    @override
    def replace(self, job: Job) -> None:
        row = job_to_row(job)
        with self._database.writing() as connection:
            self._hold(connection, row)
            if not self._scope.change(connection, JOBS, row, name=job.name):
                raise _no_job(job.name)

    def _hold(self, connection: Connection, row: Mapping[str, Any]) -> None:
        """Hold what a job refers to, until the transaction ends; nothing, without a server."""

    @override
    def remove(self, name: str) -> None:
        _check_name(name)
        with self._database.writing() as connection:
            if not self._scope.remove(connection, JOBS, name=name):
                raise _no_job(name)


def is_job_name(name: str) -> bool:
    """Say whether a job can be called so."""
    try:
        check_job_name(name)
    except InvalidName:
        return False
    return True


def _check_name(name: str) -> None:
    # What can be no job's name need not be looked for; some of it could not even be sent to the
    # database.
    if not is_job_name(name):
        raise _no_job(name)


def _no_job(name: str) -> JobNotFound:
    return JobNotFound(f"there is no job called '{to_line(name[:_SHOWN_CHARACTERS])}'")
