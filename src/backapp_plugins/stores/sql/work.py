"""What one machine may ask of the tables; every method is one transaction."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, final

from attrs import evolve
from sqlalchemy import Connection, select, update
from typing_extensions import override

from backapp_core.plugin_api import (
    AgentRevoked,
    AgentRunning,
    Event,
    IllegalTransition,
    Job,
    ObjectSeen,
    Progress,
    RepositoryExists,
    RepositoryNotFound,
    Run,
    RunState,
    Snapshot,
)
from backapp_core.server_api import (
    SCHEME,
    AgentReport,
    Answer,
    Claim,
    ManagedRepository,
    Orders,
    Question,
    Receipt,
    Renewal,
    Witness,
    Work,
)
from backapp_plugins.stores.sql.acknowledgements import Arrival, Seen, last_seen, seen_before
from backapp_plugins.stores.sql.claims import Claimant, check_end
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.database import Now
from backapp_plugins.stores.sql.held_repositories import change_repository, no_repository
from backapp_plugins.stores.sql.questions import (
    has_questions,
    keep_answer,
    remove_expired,
    take_question,
)
from backapp_plugins.stores.sql.repository_rows import repository_from_row
from backapp_plugins.stores.sql.rows import (
    check_id,
    is_id,
    job_from_body,
    moment_from_column,
    moment_to_column,
    run_from_row,
    run_to_row,
    seconds_to_column,
    to_body,
)
from backapp_plugins.stores.sql.runs import append_events
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import AGENTS, JOBS, REPOSITORIES, RUNS


@final
@again_after_collisions
class SqlWork(Work):
    """One machine's part of the store."""

    def __init__(self, scope: Scope, agent_id: str, witness: Witness) -> None:
        self._scope = scope
        self._database = scope.database
        self._agent_id = agent_id
        self._witness = witness
        self._claimant = Claimant(scope, agent_id)

    @override
    def hello(self, report: AgentReport, *, alive_seconds: float) -> Orders:
        check_id(report.instance, "instance")
        with self._writing(is_held=True) as (connection, agent):
            now = self._database.now(connection)
            is_silent = agent.last_seen_at is None or agent.last_seen_at <= moment_to_column(
                now
            ) - seconds_to_column(alive_seconds)
            if agent.instance not in {"", report.instance} and not is_silent:
                raise AgentRunning(
                    f"another process works with the key of {agent.name}; stop it, or revoke the"
                    " key if it is none of yours"
                )
            body = to_body(report)
            seen = {
                "instance": report.instance,
                "last_seen_at": moment_to_column(now),
                "report": body,
            }
            self._scope.change(connection, AGENTS, seen, id=self._agent_id)
            if is_silent or agent.instance != report.instance or agent.report != body:
                self._database.announce(connection, "agents", self._agent_id)
            return Orders(
                now=now,
                has_work=self._claimant.has_work(connection),
                has_questions=has_questions(connection, self._scope, self._agent_id),
            )

    @override
    def goodbye(self, instance: str) -> None:
        with self._writing(is_held=True) as (connection, agent):
            if instance and agent.instance == instance:
                self._scope.change(connection, AGENTS, {"instance": ""}, id=self._agent_id)
                self._database.announce(connection, "agents", self._agent_id)

    @override
    def claim(self, instance: str, *, lease_seconds: float) -> Claim | None:
        check_id(instance, "instance")
        with self._writing(is_held=True) as (connection, _):
            while row := self._claimant.take(connection, instance, lease_seconds):
                self._database.announce(connection, "runs", row.id)
                claim = self._claim_of(connection, row, lease_seconds)
                if claim is not None:
                    return claim
        return None

    @override
    def renew(
        self,
        run_id: str,
        fence: int,
        *,
        lease_seconds: float,
        within_seconds: float | None = None,
    ) -> Renewal:
        with self._writing() as (connection, _):
            row = self._claimant.held(connection, run_id, fence)
            renewed = (
                update(RUNS)
                .where(self._scope.of(RUNS, id=run_id))
                .values(lease_until=Now() + seconds_to_column(lease_seconds))
                .returning(RUNS.c.lease_until)
            )
            until = connection.execute(renewed).scalar_one()
        return Renewal(
            lease_until=moment_from_column(until),
            is_cancel_wished=row.cancel_wished_at is not None,
        )

    @override
    def report(
        self,
        run_id: str,
        fence: int,
        events: Sequence[tuple[datetime, Event]],
        progress: Progress | None = None,
    ) -> None:
        with self._writing() as (connection, _):
            self._claimant.held(connection, run_id, fence)
            append_events(connection, self._scope, run_id, events)
            if progress is not None:
                reported = {"progress": to_body(progress)}
                self._scope.change(connection, RUNS, reported, id=run_id)
            self._database.announce(connection, "runs", run_id)

    @override
    def hand_back(self, run_id: str, fence: int) -> None:
        with self._writing() as (connection, _):
            row = self._claimant.own(connection, run_id)
            if row.state == RunState.RUNNING.value and (row.fence, row.lease_until) == (
                fence,
                None,
            ):
                return  # an answer was lost
            self._claimant.held(connection, run_id, fence)
            self._scope.change(connection, RUNS, {"lease_until": None, "instance": ""}, id=run_id)
            self._database.announce(connection, "runs", run_id)

    @override
    def finish(self, fence: int, ended: Run) -> None:
        with self._writing() as (connection, _):
            row = self._claimant.own(connection, ended.id)
            stored = run_from_row(row)
            # When it began, and that somebody wished for its end, is what the store knows better.
            kept = evolve(
                ended, started_at=stored.started_at, cancel_wished_at=stored.cancel_wished_at
            )
            if row.fence == fence and kept == stored and stored.state.is_final:
                return  # an answer was lost
            self._claimant.held(connection, ended.id, fence)
            check_end(kept, stored)
            changed = {**run_to_row(kept), "lease_until": None, "seen": None}
            self._scope.change(connection, RUNS, changed, id=ended.id)
            self._database.announce(connection, "runs", ended.id)

    @override
    def see_objects(
        self,
        run_id: str,
        fence: int,
        snapshot_id: str,
        objects: Sequence[ObjectSeen],
        *,
        after: str = "",
    ) -> None:
        with self._database.reading() as connection:
            self._agent(connection)
            before = self._claimant.held(connection, run_id, fence, is_locked=False)
            repository = self._repository(connection, before.repository_id)
        if repository.is_local:
            return
        if after and (former := last_seen(before)) is not None:
            told_last = max((one.name for one in objects), default="")
            if (former.fence, former.snapshot_id, former.last_name) == (
                *(fence, snapshot_id, told_last),
            ):
                return  # an answer was lost
        seen = seen_before(before, fence, snapshot_id, after).and_also(objects)
        self._witness(repository, objects)
        with self._writing() as (connection, _):
            row = self._claimant.held(connection, run_id, fence)
            written = to_body(seen)
            if row.seen not in {before.seen, written}:
                raise IllegalTransition(
                    f"something else was told of run {run_id[:8]} meanwhile; tell of all again"
                )
            self._scope.change(connection, RUNS, {"seen": written}, id=run_id)

    @override
    def acknowledge(
        self,
        run_id: str,
        fence: int,
        snapshot: Snapshot,
        objects: Sequence[ObjectSeen],
        *,
        after: str = "",
    ) -> Receipt:
        with self._database.reading() as connection:
            self._agent(connection)
            row = self._claimant.held(connection, run_id, fence, is_locked=False)
            arrival = self._arrival(connection, row, snapshot)
            former = arrival.former_receipt(connection, self._scope)
        if former is not None:
            return former
        if not arrival.repository.is_local:
            seen = seen_before(row, fence, snapshot.id, after).and_also(objects)
            arrival = evolve(arrival, seen=seen)
            self._witness(arrival.repository, objects)
        with self._writing() as (connection, _):
            # Looking into the bucket may have taken longer than the lease.
            self._claimant.held(connection, run_id, fence)
            receipt = arrival.receive(connection, self._scope, self._database.now(connection))
            self._database.announce(connection, "runs", run_id)
        return receipt

    @override
    def repository(self, repository_id: str) -> ManagedRepository:
        with self._database.reading() as connection:
            self._agent(connection)
            return self._repository(connection, repository_id)

    @override
    def repositories(self) -> Sequence[ManagedRepository]:
        query = (
            select(REPOSITORIES)
            .where(self._scope.of(REPOSITORIES, agent_id=self._agent_id, removed_at=None))
            .order_by(REPOSITORIES.c.name)
        )
        with self._database.reading() as connection:
            self._agent(connection)
            rows = connection.execute(query).all()
        return [repository_from_row(row) for row in rows]

    @override
    def report_created(self, repository_id: str, own_id: str) -> ManagedRepository:
        with self._writing() as (connection, _):
            now = self._database.now(connection)

            def created(one: ManagedRepository) -> ManagedRepository:
                if one.repository_id == own_id:
                    return one
                if one.repository_id:
                    raise RepositoryExists(
                        f"{one.name} was created before, as {one.repository_id[:8]}"
                    )
                return evolve(one, repository_id=own_id, initialised_at=now)

            return self._change(connection, repository_id, created)

    @override
    def confirm_sheet(self, repository_id: str) -> ManagedRepository:
        with self._writing() as (connection, _):
            now = self._database.now(connection)

            def confirmed(one: ManagedRepository) -> ManagedRepository:
                return evolve(one, sheet_confirmed_at=one.sheet_confirmed_at or now)

            return self._change(connection, repository_id, confirmed)

    @override
    def next_question(self) -> Question | None:
        with self._writing() as (connection, _):
            return take_question(connection, self._scope, self._agent_id)

    @override
    def answer(self, question_id: str, answer: Answer) -> None:
        with self._writing() as (connection, _):
            remove_expired(connection, self._scope)
            if is_id(question_id) and keep_answer(
                connection, self._scope, self._agent_id, question_id, answer
            ):
                self._database.announce(connection, "questions", question_id)

    @contextmanager
    def _writing(self, *, is_held: bool = False) -> Generator[tuple[Connection, Any], None, None]:
        """Open a transaction in which the machine may write; hands out its row, too."""
        with self._database.writing() as connection:
            yield connection, self._agent(connection, is_held=is_held)

    def _agent(self, connection: Connection, *, is_held: bool = False) -> Any:
        row = None
        if is_id(self._agent_id):
            find = self._scope.lock if is_held else self._scope.one
            row = find(connection, AGENTS, id=self._agent_id)
        if row is None:
            raise AgentRevoked("this machine is not known here; enrol it")
        if row.revoked_at is not None:
            raise AgentRevoked(f"the key of {row.name} was taken back; enrol the machine again")
        return row

    def _claim_of(self, connection: Connection, row: Any, lease_seconds: float) -> Claim | None:
        """Return what goes with a claimed run; None if it cannot be run, and then end it."""
        run = run_from_row(row)
        job: Job | None = None
        if run.restore is not None:
            repository_id, whose = run.restore.repository_id, "the repository to restore from"
        else:
            found = self._scope.one(connection, JOBS, name=run.job_name)
            if found is None:
                self._give_up(connection, run, f"the job {run.job_name} was removed meanwhile")
                return None
            job = job_from_body(found.body)
            repository_id = job.repository.removeprefix(f"{SCHEME}:")
            whose = f"the repository of {run.job_name}"
        try:
            # Held, so that it is not removed meanwhile.
            repository = self._repository(connection, repository_id, is_held=True)
        except RepositoryNotFound:
            self._give_up(connection, run, f"{whose} is none of this machine's")
            return None
        self._scope.change(connection, RUNS, {"repository_id": repository.id}, id=run.id)
        return Claim(
            run=run,
            fence=row.fence,
            lease_until=moment_from_column(row.lease_until),
            lease_seconds=lease_seconds,
            job=job,
            repository=repository,
        )

    def _give_up(self, connection: Connection, run: Run, reason: str) -> None:
        ended = run.fail(at=self._database.now(connection), error=reason)
        self._scope.change(connection, RUNS, {**run_to_row(ended), "lease_until": None}, id=run.id)

    def _arrival(self, connection: Connection, row: Any, snapshot: Snapshot) -> Arrival:
        return Arrival(
            repository=self._repository(connection, row.repository_id),
            agent_id=self._agent_id,
            run_id=row.id,
            snapshot=snapshot,
            seen=Seen(row.fence, snapshot.id),
        )

    def _repository(
        self, connection: Connection, repository_id: str, *, is_held: bool = False
    ) -> ManagedRepository:
        row = None
        if is_id(repository_id):
            find = self._scope.lock if is_held else self._scope.one
            own = {"id": repository_id, "agent_id": self._agent_id, "removed_at": None}
            row = find(connection, REPOSITORIES, **own)
        if row is None:
            raise RepositoryNotFound(no_repository(repository_id))
        return repository_from_row(row)

    def _change(
        self,
        connection: Connection,
        repository_id: str,
        change: Callable[[ManagedRepository], ManagedRepository],
    ) -> ManagedRepository:
        self._repository(connection, repository_id)
        return change_repository(connection, self._scope, repository_id, change)
