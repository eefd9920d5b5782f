"""Runs in tables; every method is one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, tuple_
from typing_extensions import override

from backapp_core.plugin_api import (
    Event,
    IllegalTransition,
    NameTaken,
    Run,
    RunFilter,
    RunNotFound,
    Runs,
    RunState,
    to_line,
)
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.jobs import is_job_name
from backapp_plugins.stores.sql.rows import (
    RUN_COLUMNS,
    event_from_body,
    event_to_body,
    is_id,
    moment_from_column,
    moment_to_column,
    optional_moment_to_column,
    run_from_row,
    run_to_row,
)
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import RUN_EVENTS, RUNS

UNDER_WAY = (RunState.REQUESTED.value, RunState.RUNNING.value)
"""Values of the column of states for which a run has not ended."""
_SHOWN_CHARACTERS = 64
SELECTED = tuple(RUNS.c[name] for name in RUN_COLUMNS)


@again_after_collisions
class SqlRuns(Runs):
    """The runs of one tenant."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._database = scope.database

    @override
    def add(self, run: Run) -> None:
        row = run_to_row(run)
        with self._database.writing() as connection:
            if self._scope.add(connection, RUNS, row):
                self._database.announce(connection, "runs", run.id)
                return
            if self._scope.one(connection, RUNS, id=run.id) is not None:
                raise NameTaken(f"run {run.id} exists already")
            raise NameTaken(f"job '{run.job_name}' has a run for {run.due_at} already")

    @override
    def move(self, run: Run, *, from_state: RunState) -> None:
        check_run_id(run.id)
        with self._database.writing() as connection:
            row = self._scope.lock(connection, RUNS, id=run.id)
            if row is None:
                raise RunNotFound(no_run(run.id))
            _check_move(run, from_state, row)
            self._scope.change(connection, RUNS, run_to_row(run), id=run.id)
            self._database.announce(connection, "runs", run.id)

    @override
    def get(self, run_id: str) -> Run:
        check_run_id(run_id)
        # A range and not LIKE: it needs no escaping, knows upper case from lower, and uses the
        # primary key.
        query = (
            select(*SELECTED)
            .where(self._scope.of(RUNS), RUNS.c.id >= run_id, RUNS.c.id < run_id + "\x7f")
            .order_by(RUNS.c.id)
            .limit(2)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise RunNotFound(no_run(run_id))
        if len(rows) > 1 and rows[0].id != run_id:
            raise RunNotFound(f"several runs begin with '{run_id}'; give more of the id")
        return run_from_row(rows[0])

    @override
    def list(self, run_filter: RunFilter) -> Sequence[Run]:
        if run_filter.job_name is not None and not is_job_name(run_filter.job_name):
            return []
        if run_filter.agent_id and not is_id(run_filter.agent_id):
            return []
        query = (
            select(*SELECTED)
            .where(self._scope.of(RUNS, **_wanted(run_filter)))
            .order_by(RUNS.c.requested_at.desc(), RUNS.c.id.desc())
            .limit(max(run_filter.limit, 0))
        )
        query = _within(query, run_filter)
        with self._database.reading() as connection:
            if run_filter.before_id is not None:
                last = self._row_or_refuse(connection, run_filter.before_id)
                query = query.where(
                    tuple_(RUNS.c.requested_at, RUNS.c.id) < tuple_(last.requested_at, last.id)
                )
            rows = connection.execute(query).all()
        return [run_from_row(row) for row in rows]

    @override
    def add_events(self, run_id: str, events: Sequence[tuple[datetime, Event]]) -> None:
        with self._database.writing() as connection:
            # Held, so that two who append do not take the same number.
            if not is_id(run_id) or self._scope.lock(connection, RUNS, id=run_id) is None:
                raise RunNotFound(no_run(run_id))
            append_events(connection, self._scope, run_id, events)
            self._database.announce(connection, "runs", run_id)

    @override
    def events(self, run_id: str) -> Sequence[tuple[datetime, Event]]:
        query = (
            select(RUN_EVENTS.c.happened_at, RUN_EVENTS.c.body)
            .where(self._scope.of(RUN_EVENTS, run_id=run_id))
            .order_by(RUN_EVENTS.c.sequence)
        )
        with self._database.reading() as connection:
            self._row_or_refuse(connection, run_id)
            rows = connection.execute(query).all()
        return [(moment_from_column(row.happened_at), event_from_body(row.body)) for row in rows]

    def _row_or_refuse(self, connection: Connection, run_id: str) -> Any:
        check_run_id(run_id)
        row = self._scope.one(connection, RUNS, id=run_id)
        if row is None:
            raise RunNotFound(no_run(run_id))
        return row


def append_events(
    connection: Connection, scope: Scope, run_id: str, events: Sequence[tuple[datetime, Event]]
) -> None:
    """Number events and append them to those of a run whose row is held."""
    if not events:
        return
    query = select(func.coalesce(func.max(RUN_EVENTS.c.sequence), 0)).where(
        scope.of(RUN_EVENTS, run_id=run_id)
    )
    last = connection.execute(query).scalar_one()
    owner = {"tenant_id": scope.tenant_id, "run_id": run_id}
    connection.execute(
        insert(RUN_EVENTS),
        [
            {
                **owner,
                "sequence": sequence,
                "happened_at": moment_to_column(happened_at),
                "body": event_to_body(event),
            }
            for sequence, (happened_at, event) in enumerate(events, start=last + 1)
        ],
    )


def _wanted(run_filter: RunFilter) -> dict[str, str]:
    wanted = {
        "job_name": run_filter.job_name,
        "state": None if run_filter.state is None else run_filter.state.value,
        "agent_id": run_filter.agent_id,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _within(query: Select[Any], run_filter: RunFilter) -> Select[Any]:
    if run_filter.since is not None:
        query = query.where(RUNS.c.requested_at >= moment_to_column(run_filter.since))
    if run_filter.until is not None:
        query = query.where(RUNS.c.requested_at < moment_to_column(run_filter.until))
    return query


def _check_move(run: Run, from_state: RunState, row: Any) -> None:
    if row.state != from_state.value:
        raise IllegalTransition(f"run {run.id[:8]} is {row.state} by now and not {from_state}")
    if not from_state.may_become(run.state):
        raise IllegalTransition(f"run {run.id[:8]} is {from_state} and cannot become {run.state}")
    asked = (
        run.job_name,
        moment_to_column(run.requested_at),
        optional_moment_to_column(run.due_at),
    )
    if asked != (row.job_name, row.requested_at, row.due_at):
        raise IllegalTransition(f"run {run.id[:8]} keeps its job, request time and due moment")


def check_run_id(run_id: str) -> None:
    """Refuse what can be no run's id, some of which could not even be sent to the database.

    Raises:
        RunNotFound: If it is such.
    """
    if not is_id(run_id):
        raise RunNotFound(no_run(run_id))


def no_run(run_id: str) -> str:
    """Return the sentence that there is no such run."""
    return f"there is no run '{to_line(run_id[:_SHOWN_CHARACTERS])}'"
