"""Jobs and runs in tables; every method is one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, final

from sqlalchemy import Connection, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from typing_extensions import override

from backapp_core.plugin_api import (
    Event,
    IllegalTransition,
    InvalidName,
    Job,
    JobNotFound,
    Jobs,
    NameTaken,
    Run,
    RunFilter,
    RunNotFound,
    Runs,
    RunState,
    Store,
    check_job_name,
    to_line,
)
from backapp_plugins.stores.sql.connection import Database
from backapp_plugins.stores.sql.rows import (
    event_from_body,
    event_to_body,
    is_run_id,
    job_from_body,
    job_to_row,
    moment_from_column,
    moment_to_column,
    run_from_body,
    run_to_row,
)
from backapp_plugins.stores.sql.tables import DEFAULT_TENANT, JOBS, RUN_EVENTS, RUNS

_SHOWN_CHARACTERS = 64


@final
class SqlJobs(Jobs):
    """The jobs of one tenant."""

    def __init__(self, database: Database, tenant_id: int) -> None:
        self._database = database
        self._tenant_id = tenant_id

    @override
    def add(self, job: Job) -> None:
        row = job_to_row(job)
        with self._database.writing() as connection:
            try:
                connection.execute(insert(JOBS).values(tenant_id=self._tenant_id, **row))
            except IntegrityError as error:
                raise NameTaken(f"a job called '{job.name}' exists already") from error

    @override
    def get(self, name: str) -> Job:
        _check_name(name)
        with self._database.reading() as connection:
            body = connection.execute(
                select(JOBS.c.body).where(*self._called(name))
            ).scalar_one_or_none()
        if body is None:
            raise _no_job(name)
        return job_from_body(body)

    @override
    def list(self) -> Sequence[Job]:
        query = select(JOBS.c.body).where(JOBS.c.tenant_id == self._tenant_id).order_by(JOBS.c.name)
        with self._database.reading() as connection:
            bodies = connection.execute(query).scalars().all()
        return [job_from_body(body) for body in bodies]

    @override
    def replace(self, job: Job) -> None:
        row = job_to_row(job)
        with self._database.writing() as connection:
            if not connection.execute(
                update(JOBS).where(*self._called(job.name)).values(**row)
            ).rowcount:
                raise _no_job(job.name)

    @override
    def remove(self, name: str) -> None:
        _check_name(name)
        with self._database.writing() as connection:
            if not connection.execute(delete(JOBS).where(*self._called(name))).rowcount:
                raise _no_job(name)

    def _called(self, name: str) -> tuple[Any, ...]:
        return (JOBS.c.tenant_id == self._tenant_id, JOBS.c.name == name)


@final
class SqlRuns(Runs):
    """The runs of one tenant."""

    def __init__(self, database: Database, tenant_id: int) -> None:
        self._database = database
        self._tenant_id = tenant_id

    @override
    def add(self, run: Run) -> None:
        row = run_to_row(run)
        with self._database.writing() as connection:
            try:
                connection.execute(insert(RUNS).values(tenant_id=self._tenant_id, **row))
            except IntegrityError as error:
                if self._row(connection, run.id) is not None:
                    raise NameTaken(f"run {run.id} exists already") from error
                raise NameTaken(
                    f"job '{run.job_name}' has a run for {run.due_at} already"
                ) from error

    @override
    def move(self, run: Run, *, from_state: RunState) -> None:
        _check_run_id(run.id)
        with self._database.writing() as connection:
            row = self._row(connection, run.id)
            if row is None:
                raise _no_run(run.id)
            _check_move(run, from_state, row)
            changed = {"state": run.state.value, "body": run_to_row(run)["body"]}
            connection.execute(update(RUNS).where(*self._called(run.id)).values(**changed))

    @override
    def get(self, run_id: str) -> Run:
        _check_run_id(run_id)
        # A range and not LIKE: it needs no escaping, knows upper case from lower, and uses the
        # primary key.
        query = (
            select(RUNS.c.id, RUNS.c.body)
            .where(
                RUNS.c.tenant_id == self._tenant_id,
                RUNS.c.id >= run_id,
                RUNS.c.id < run_id + "\x7f",
            )
            .order_by(RUNS.c.id)
            .limit(2)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise _no_run(run_id)
        if len(rows) > 1 and rows[0].id != run_id:
            raise RunNotFound(f"several runs begin with '{run_id}'; give more of the id")
        return run_from_body(rows[0].body)

    @override
    def list(self, run_filter: RunFilter) -> Sequence[Run]:
        query = (
            select(RUNS.c.body)
            .where(RUNS.c.tenant_id == self._tenant_id)
            .order_by(RUNS.c.requested_at.desc(), RUNS.c.id.desc())
            .limit(max(run_filter.limit, 0))
        )
        if run_filter.job_name is not None:
            if not _is_job_name(run_filter.job_name):
                return []
            query = query.where(RUNS.c.job_name == run_filter.job_name)
        if run_filter.state is not None:
            query = query.where(RUNS.c.state == run_filter.state.value)
        with self._database.reading() as connection:
            if run_filter.before_id is not None:
                last = self._row_or_refuse(connection, run_filter.before_id)
                query = query.where(
                    tuple_(RUNS.c.requested_at, RUNS.c.id) < tuple_(last.requested_at, last.id)
                )
            bodies = connection.execute(query).scalars().all()
        return [run_from_body(body) for body in bodies]

    @override
    def add_events(self, run_id: str, events: Sequence[tuple[datetime, Event]]) -> None:
        rows = [
            {"happened_at": moment_to_column(happened_at), "body": event_to_body(event)}
            for happened_at, event in events
        ]
        with self._database.writing() as connection:
            self._row_or_refuse(connection, run_id)
            if not rows:
                return
            query = select(func.coalesce(func.max(RUN_EVENTS.c.sequence), 0)).where(
                *self._during(run_id)
            )
            last = connection.execute(query).scalar_one()
            owner = {"tenant_id": self._tenant_id, "run_id": run_id}
            connection.execute(
                insert(RUN_EVENTS),
                [
                    {**owner, "sequence": sequence, **row}
                    for sequence, row in enumerate(rows, start=last + 1)
                ],
            )

    @override
    def events(self, run_id: str) -> Sequence[tuple[datetime, Event]]:
        columns = select(RUN_EVENTS.c.happened_at, RUN_EVENTS.c.body)
        with self._database.reading() as connection:
            self._row_or_refuse(connection, run_id)
            query = columns.where(*self._during(run_id)).order_by(RUN_EVENTS.c.sequence)
            rows = connection.execute(query).all()
        return [(moment_from_column(row.happened_at), event_from_body(row.body)) for row in rows]

    def _called(self, run_id: str) -> tuple[Any, ...]:
        return (RUNS.c.tenant_id == self._tenant_id, RUNS.c.id == run_id)

    def _during(self, run_id: str) -> tuple[Any, ...]:
        return (RUN_EVENTS.c.tenant_id == self._tenant_id, RUN_EVENTS.c.run_id == run_id)

    def _row(self, connection: Connection, run_id: str) -> Any:
        return connection.execute(select(RUNS).where(*self._called(run_id))).one_or_none()

    def _row_or_refuse(self, connection: Connection, run_id: str) -> Any:
        _check_run_id(run_id)
        row = self._row(connection, run_id)
        if row is None:
            raise _no_run(run_id)
        return row


@final
class SqlStore(Store):
    """Jobs and runs of one tenant in one database; made by `open.open_sqlite`."""

    def __init__(self, database: Database, tenant_id: int = DEFAULT_TENANT) -> None:
        self._database = database
        self.jobs = SqlJobs(database, tenant_id)
        self.runs = SqlRuns(database, tenant_id)
        # Two links to one file are one store.
        path = database.path.resolve()
        self.claims_folder = path.with_name(f"{path.name}-claims")

    @override
    def close(self) -> None:
        self._database.close()


def _check_move(run: Run, from_state: RunState, row: Any) -> None:
    if row.state != from_state.value:
        raise IllegalTransition(f"run {run.id[:8]} is {row.state} by now and not {from_state}")
    if not from_state.may_become(run.state):
        raise IllegalTransition(f"run {run.id[:8]} is {from_state} and cannot become {run.state}")
    due_at = None if run.due_at is None else moment_to_column(run.due_at)
    asked = (run.job_name, moment_to_column(run.requested_at), due_at)
    if asked != (row.job_name, row.requested_at, row.due_at):
        raise IllegalTransition(f"run {run.id[:8]} keeps its job, request time and due moment")


def _is_job_name(name: str) -> bool:
    try:
        check_job_name(name)
    except InvalidName:
        return False
    return True


def _check_name(name: str) -> None:
    # What can be no job's name need not be looked for; some of it could not even be sent to the
    # database.
    if not _is_job_name(name):
        raise _no_job(name)


def _check_run_id(run_id: str) -> None:
    if not is_run_id(run_id):
        raise _no_run(run_id)


def _no_job(name: str) -> JobNotFound:
    return JobNotFound(f"there is no job called '{to_line(name[:_SHOWN_CHARACTERS])}'")


def _no_run(run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run '{to_line(run_id[:_SHOWN_CHARACTERS])}'")
