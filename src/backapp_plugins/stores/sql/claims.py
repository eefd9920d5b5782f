"""Who runs a run: claims, leases by the database's clock, and fences that only grow."""

from typing import Any

from attrs import frozen
from sqlalchemy import ColumnElement, Connection, FromClause, exists, func, or_, select, update

from backapp_core.plugin_api import IllegalTransition, LeaseLost, Run, RunNotFound, RunState
from backapp_plugins.stores.sql.database import Now
from backapp_plugins.stores.sql.rows import is_id, seconds_to_column
from backapp_plugins.stores.sql.runs import UNDER_WAY, no_run
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import RUNS


@frozen
class Claimant:
    """One machine that asks for work."""

    scope: Scope
    agent_id: str

    def has_work(self, connection: Connection) -> bool:
        """Say whether `take` would find something."""
        query = select(RUNS.c.id).where(*self._claimable(RUNS)).limit(1)
        return connection.execute(query).first() is not None

    def take(self, connection: Connection, instance: str, lease_seconds: float) -> Any:
        """Claim the run that has waited longest, in one statement; return its row, None if none.

        The row of the machine has to be held: of two that ask at once the second sees the lease of
        the first then, and they do not get runs of the same job.
        """
        waiting = RUNS.alias("waiting")
        longest = (
            select(waiting.c.id)
            .where(*self._claimable(waiting))
            .order_by(waiting.c.requested_at, waiting.c.id)
            .limit(1)
            .with_for_update(skip_locked=True, key_share=True, of=waiting)
            .scalar_subquery()
        )
        claimed = (
            update(RUNS)
            .where(self.scope.of(RUNS), RUNS.c.id == longest)
            .values(
                state=RunState.RUNNING.value,
                # Of the first time that it began.
                started_at=func.coalesce(RUNS.c.started_at, Now()),
                fence=RUNS.c.fence + 1,
                lease_until=Now() + seconds_to_column(lease_seconds),
                instance=instance,
            )
            .returning(RUNS)
        )
        return connection.execute(claimed).one_or_none()

    def held(
        self, connection: Connection, run_id: str, fence: int, *, is_locked: bool = True
    ) -> Any:
        """Return the row of a run that is this machine's under ``fence``.

        With ``is_locked`` nobody else can change the row until the transaction ends.

        A lease that ran out holds until somebody else takes the run over.

        Raises:
            LeaseLost: If somebody else took it over, or it has ended or was handed back.
            RunNotFound: If it is none of this machine's.
        """
        row = self.own(connection, run_id, is_locked=is_locked)
        if row.state != RunState.RUNNING.value:
            raise LeaseLost(f"run {run_id[:8]} is {row.state} by now")
        if row.fence != fence or row.lease_until is None:
            raise LeaseLost(f"run {run_id[:8]} was taken over by somebody else")
        return row

    def own(self, connection: Connection, run_id: str, *, is_locked: bool = True) -> Any:
        """Return the row of any run of this machine's.

        Raises:
            RunNotFound: If it is none of this machine's.
        """
        row = None
        if is_id(run_id):
            find = self.scope.lock if is_locked else self.scope.one
            row = find(connection, RUNS, id=run_id, agent_id=self.agent_id)
        if row is None:
            raise RunNotFound(no_run(run_id))
        return row

    def _claimable(self, runs: FromClause) -> tuple[ColumnElement[bool], ...]:
        other = RUNS.alias("other")
        is_busy = exists().where(
            self.scope.of(other, job_name=runs.c.job_name, state=RunState.RUNNING.value),
            other.c.id != runs.c.id,
            # Restores have no job.
            or_(runs.c.job_name != "", other.c.repository_id == runs.c.repository_id),
            other.c.lease_until > Now(),
        )
        return (
            self.scope.of(runs, agent_id=self.agent_id),
            runs.c.state.in_(UNDER_WAY),
            or_(
                runs.c.state == RunState.REQUESTED.value,
                runs.c.lease_until.is_(None),
                runs.c.lease_until <= Now(),
            ),
            ~is_busy,
        )


def check_end(ended: Run, stored: Run) -> None:
    """Refuse what is no end of a run that is stored.

    Raises:
        IllegalTransition: If the move is not legal, or something else was asked for.
    """
    if not (ended.state.is_final and stored.state.may_become(ended.state)):
        raise IllegalTransition(
            f"run {ended.id[:8]} is {stored.state} and cannot become {ended.state}"
        )
    if _asked(ended) != _asked(stored):
        raise IllegalTransition(f"run {ended.id[:8]} keeps what was asked for")


def _asked(run: Run) -> tuple[object, ...]:
    return run.job_name, run.requested_at, run.due_at, run.kind, run.restore, run.agent_id
