"""What servers may do with runs, besides what every store can."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import final

from attrs import evolve
from sqlalchemy import Connection, select
from typing_extensions import override

from backapp_core.plugin_api import (
    Event,
    IllegalTransition,
    LeaseLost,
    NameTaken,
    Progress,
    Run,
    RunNotFound,
    RunState,
)
from backapp_core.server_api import FleetRuns, Hold, Holding
from backapp_plugins.stores.sql.claims import Claimant
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.held_repositories import locked_repository
from backapp_plugins.stores.sql.jobs import is_job_name
from backapp_plugins.stores.sql.rows import (
    event_from_body,
    from_body,
    hash_of,
    moment_from_column,
    run_from_row,
    run_to_row,
)
from backapp_plugins.stores.sql.runs import SELECTED, SqlRuns, check_run_id, no_run
from backapp_plugins.stores.sql.tables import JOBS, RUN_EVENTS, RUNS


@final
@again_after_collisions
class SqlFleetRuns(SqlRuns, FleetRuns):
    """The runs of one tenant's machines."""

    @override
    def request(self, run: Run) -> Run:
        row = run_to_row(run)
        with self._database.writing() as connection:
            # There may be no row yet that could be held.
            turn = f"request {self._scope.tenant_id} {run.job_name}"
            self._database.take_turns(connection, hash_of(turn))
            if run.restore is not None:
                locked_repository(connection, self._scope, run.restore.repository_id)
            waiting = self._waiting(connection, run)
            if waiting is not None:
                return waiting
            if not self._scope.add(connection, RUNS, row):
                return self._the_same(connection, run)
            self._database.announce(connection, "runs", run.id)
        return run

    @override
    def wish_cancel(self, run_id: str) -> Run:
        check_run_id(run_id)
        with self._database.writing() as connection:
            row = self._scope.lock(connection, RUNS, id=run_id)
            if row is None:
                raise RunNotFound(no_run(run_id))
            run = run_from_row(row)
            now = self._database.now(connection)
            if run.state.is_final:
                raise IllegalTransition(f"run {run.id[:8]} is {run.state} and cannot be cancelled")
            if run.state is RunState.REQUESTED:
                wished = run.cancel(at=now)
            else:
                wished = evolve(run, cancel_wished_at=run.cancel_wished_at or now)
            self._scope.change(connection, RUNS, run_to_row(wished), id=run_id)
            self._database.announce(connection, "runs", run_id)
        return wished

    @override
    def holding(self, agent_id: str, hold: Hold) -> Holding:
        claimant = Claimant(self._scope, agent_id)
        with self._database.reading() as connection:
            row = claimant.held(connection, hold.run_id, hold.fence, is_locked=False)
            # Asked after the row: what was held for longer than that nobody can have taken.
            left = moment_from_column(row.lease_until) - self._database.now(connection)
        if left <= timedelta(0):
            raise LeaseLost(f"the lease of run {hold.run_id[:8]} is over; claim it again")
        return Holding(row.repository_id, left.total_seconds())

    @override
    def progress(self, run_id: str) -> Progress | None:
        with self._database.reading() as connection:
            row = self._row_or_refuse(connection, run_id)
        return None if row.progress is None else from_body(row.progress, Progress, "progress")

    @override
    def latest_of_jobs(self, names: Collection[str]) -> Mapping[str, Run]:
        wanted = {name for name in names if is_job_name(name)}
        if not wanted:
            return {}
        # A few steps into an index for each job, however many runs there are.
        own = RUNS.alias("own")
        latest = (
            select(own.c.id)
            .where(
                self._scope.of(own),
                own.c.job_name == JOBS.c.name,
            )
            .order_by(own.c.requested_at.desc(), own.c.id.desc())
            .limit(1)
            .correlate(JOBS)
            .scalar_subquery()
        )
        query = (
            select(*SELECTED)
            .select_from(JOBS)
            .join(RUNS, RUNS.c.id == latest)
            .where(self._scope.of(JOBS), self._scope.of(RUNS), JOBS.c.name.in_(wanted))
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {run.job_name: run for run in map(run_from_row, rows)}

    @override
    def events_after(
        self, run_id: str, sequence: int, *, limit: int = 500
    ) -> Sequence[tuple[int, datetime, Event]]:
        query = (
            select(RUN_EVENTS.c.sequence, RUN_EVENTS.c.happened_at, RUN_EVENTS.c.body)
            .where(self._scope.of(RUN_EVENTS, run_id=run_id), RUN_EVENTS.c.sequence > sequence)
            .order_by(RUN_EVENTS.c.sequence)
            .limit(max(limit, 0))
        )
        with self._database.reading() as connection:
            self._row_or_refuse(connection, run_id)
            rows = connection.execute(query).all()
        return [
            (row.sequence, moment_from_column(row.happened_at), event_from_body(row.body))
            for row in rows
        ]

    def _the_same(self, connection: Connection, run: Run) -> Run:
        """Return the run of the same id, if it does the same and has not ended.

        Raises:
            NameTaken: If not.
        """
        there = run_from_row(self._scope.one(connection, RUNS, id=run.id))
        asked = (run.job_name, run.agent_id, run.kind, run.restore)
        is_same = asked == (there.job_name, there.agent_id, there.kind, there.restore)
        if there.state.is_final or not is_same:
            raise NameTaken(f"run {run.id} exists already")
        return there

    def _waiting(self, connection: Connection, run: Run) -> Run | None:
        """Return the run that has waited longest of those that do the same as ``run``."""
        query = (
            select(*SELECTED)
            .where(
                self._scope.of(
                    RUNS,
                    job_name=run.job_name,
                    state=RunState.REQUESTED.value,
                    kind=run.kind.value,
                    agent_id=run.agent_id,
                )
            )
            .order_by(RUNS.c.requested_at, RUNS.c.id)
        )
        found = map(run_from_row, connection.execute(query).all())
        return next((one for one in found if one.restore == run.restore), None)
