"""Snapshots that are acknowledged, repositories, and questions: a part of `work_contract`."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from attrs import evolve

from backapp_core.errors import (
    AgentNotFound,
    LeaseLost,
    ObjectMissing,
    RepositoryExists,
    RepositoryNotFound,
    SnapshotNotFound,
)
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.managed_repositories import SCHEME, ManagedRepository
from backapp_core.model.receipts import NOTHING_BEFORE, first_break
from backapp_core.model.work import Answer, Claim, Question, QuestionKind
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.work import Work
from backapp_core.testing.fleet_fixtures import (
    LONG,
    OBJECTS,
    SHORT,
    Machine,
    OpenWork,
    claimed,
    complete,
    let_lapse,
    make_report,
    make_repository,
    make_snapshot,
    pass_time,
    sees_nothing,
)
from backapp_core.testing.work_claims_contract import WithMachine


class ReceiptsContract(WithMachine):
    """The server's own word that a snapshot arrived."""

    def test_receipt_says_what_was_seen(self, fleet: Fleet, machine: Machine, work: Work) -> None:
        machine.run()
        claim = claimed(work)
        before = fleet.now()
        receipt = work.acknowledge(claim.run.id, claim.fence, make_snapshot(), OBJECTS)
        assert before <= receipt.received_at <= fleet.now()
        assert (receipt.repository_id, receipt.sequence) == (machine.repository.id, 1)
        assert (receipt.agent_id, receipt.run_id) == (machine.id, claim.run.id)
        assert (receipt.snapshot_id, receipt.counts) == (
            make_snapshot().id,
            make_snapshot().counts,
        )
        assert (receipt.objects, receipt.object_bytes) == (2, 1024)
        assert receipt.previous_hash == NOTHING_BEFORE
        assert list(machine.store.repositories.receipts(machine.repository.id)) == [receipt]
        kept = machine.store.repositories.snapshots(machine.repository.id)
        assert list(kept) == [make_snapshot()]

    def test_receipts_of_a_repository_are_a_chain(self, machine: Machine, work: Work) -> None:
        """The snapshots are listed with the newest first."""
        for number in range(1, 4):
            machine.run(number)
            claim = claimed(work)
            work.acknowledge(claim.run.id, claim.fence, make_snapshot(number), OBJECTS)
            work.finish(claim.fence, complete(claim))
        repositories = machine.store.repositories
        receipts = list(repositories.receipts_after(machine.repository.id, 0))
        assert [receipt.sequence for receipt in receipts] == [1, 2, 3]
        assert first_break(receipts) is None
        snapshots = repositories.snapshots(machine.repository.id, limit=2)
        assert list(snapshots) == [make_snapshot(3), make_snapshot(2)]

    def test_receipts_and_snapshots_are_had_in_parts(self, machine: Machine, work: Work) -> None:
        """The newest first; receipts from the first on, too."""
        for number in range(1, 5):
            machine.run(number)
            claim = claimed(work)
            work.acknowledge(claim.run.id, claim.fence, make_snapshot(number), OBJECTS)
            work.finish(claim.fence, complete(claim))
        repositories, own = machine.store.repositories, machine.repository.id

        def numbers(before: int | None = None, limit: int = 9) -> list[int]:
            found = repositories.receipts(own, before=before, limit=limit)
            return [one.sequence for one in found]

        assert numbers() == [4, 3, 2, 1]
        assert numbers(limit=2) == [4, 3]
        assert numbers(before=3, limit=1) == [2]
        assert numbers(before=1) == numbers(limit=0) == numbers(before=-1) == []
        part = repositories.receipts_after(own, 1, limit=2)
        assert [one.sequence for one in part] == [2, 3]
        assert list(repositories.receipts_after(own, 4)) == []
        older = repositories.snapshots(own, before=make_snapshot(4).id, limit=2)
        assert list(older) == [make_snapshot(3), make_snapshot(2)]
        assert list(repositories.snapshots(own, before=make_snapshot(1).id)) == []
        for nothing in ("", "9" * 64, "\0", "\ud800"):
            with pytest.raises(SnapshotNotFound):
                repositories.snapshots(own, before=nothing)

    def test_snapshot_is_found_by_its_whole_id_in_its_repository_only(
        self, machine: Machine, work: Work
    ) -> None:
        machine.run()
        claim = claimed(work)
        snapshot = make_snapshot()
        work.acknowledge(claim.run.id, claim.fence, snapshot, OBJECTS)
        repositories = machine.store.repositories
        assert repositories.snapshot(machine.repository.id, snapshot.id) == snapshot
        empty = make_repository(machine.id, 7)
        repositories.add(empty)
        wanted = [(empty.id, snapshot.id), (machine.repository.id, snapshot.id[:-1])]
        wanted += [(machine.repository.id, text) for text in ("", "0" * 64, "\0", "\ud800", "ä")]
        for repository_id, snapshot_id in wanted:
            with pytest.raises(SnapshotNotFound):
                repositories.snapshot(repository_id, snapshot_id)
        with pytest.raises(RepositoryNotFound):
            repositories.snapshot("9" * 32, snapshot.id)

    def test_newest_snapshots_of_all_repositories_are_found_at_once(
        self, machine: Machine, work: Work
    ) -> None:
        for number in range(1, 4):
            machine.run(number)
            claim = claimed(work)
            work.acknowledge(claim.run.id, claim.fence, make_snapshot(number), OBJECTS)
            work.finish(claim.fence, complete(claim))
        repositories = machine.store.repositories
        empty = make_repository(machine.id, 7)
        repositories.add(empty)
        ids = [machine.repository.id, empty.id, "9" * 32, "\ud800"]
        found = repositories.latest_snapshots(ids, each=2)
        assert {one: list(some) for one, some in found.items()} == {
            machine.repository.id: [make_snapshot(3), make_snapshot(2)],
            **{nothing: [] for nothing in ids[1:]},
        }

    def test_same_snapshot_of_the_same_run_gets_the_same_receipt(
        self, machine: Machine, work: Work
    ) -> None:
        """Also when two say so at once: an answer may be lost."""
        machine.run()
        claim = claimed(work)

        def acknowledge(_: int) -> object:
            return work.acknowledge(claim.run.id, claim.fence, make_snapshot(), OBJECTS)

        with ThreadPoolExecutor(4) as threads:
            receipts = list(threads.map(acknowledge, range(4)))
        assert receipts == receipts[:1] * 4
        assert len(machine.store.repositories.receipts(machine.repository.id)) == 1

    def test_receipts_of_racing_runs_have_no_gap(self, machine: Machine, work: Work) -> None:
        claims: list[Claim] = []
        for number in range(6):
            machine.job(f"job-{number}")
            machine.run(number, job_name=f"job-{number}")
            claims.append(claimed(work))

        def acknowledge(claim: Claim) -> None:
            snapshot = make_snapshot(int(claim.run.id, 16))
            work.acknowledge(claim.run.id, claim.fence, snapshot, OBJECTS)

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(acknowledge, claims))
        receipts = list(machine.store.repositories.receipts_after(machine.repository.id, 0))
        assert len(receipts) == 6
        assert first_break(receipts) is None

    def test_snapshot_whose_objects_are_not_there_gets_no_receipt(
        self, machine: Machine, open_work: OpenWork
    ) -> None:
        machine.run()
        work = open_work(machine, sees_nothing)
        claim = claimed(work)
        with pytest.raises(ObjectMissing, match=OBJECTS[0].name):
            work.acknowledge(claim.run.id, claim.fence, make_snapshot(), OBJECTS)
        repositories = machine.store.repositories
        assert list(repositories.receipts(machine.repository.id)) == []
        assert list(repositories.snapshots(machine.repository.id)) == []
        work.renew(claim.run.id, claim.fence, lease_seconds=LONG)

    def test_every_object_is_looked_for_in_the_repository_of_the_run(
        self, machine: Machine, open_work: OpenWork
    ) -> None:
        asked: list[tuple[ManagedRepository, tuple[ObjectSeen, ...]]] = []
        machine.run()
        work = open_work(machine, lambda one, objects: asked.append((one, tuple(objects))))
        claim = claimed(work)
        work.acknowledge(claim.run.id, claim.fence, make_snapshot(), OBJECTS)
        assert asked == [(machine.repository, OBJECTS)]

    def test_who_loses_the_run_while_objects_are_looked_for_gets_no_receipt(
        self, fleet: Fleet, machine: Machine, open_work: OpenWork, work: Work
    ) -> None:
        machine.run()
        claim = claimed(work, lease_seconds=SHORT)

        def takes_long(repository: ManagedRepository, objects: object) -> None:
            del repository, objects
            let_lapse(fleet, claim)
            claimed(work)

        with pytest.raises(LeaseLost):
            open_work(machine, takes_long).acknowledge(
                claim.run.id, claim.fence, make_snapshot(), OBJECTS
            )
        assert list(machine.store.repositories.receipts(machine.repository.id)) == []

    def test_folder_of_the_machine_is_not_looked_into(
        self, machine: Machine, open_work: OpenWork
    ) -> None:
        """The receipt says so by counting nothing."""
        folder = make_repository(machine.id, 7, address="/srv/backup", is_local=True)
        machine.store.repositories.add(folder)
        machine.job("local", repository=f"{SCHEME}:{folder.id}")
        machine.run(job_name="local")
        work = open_work(machine, sees_nothing)
        claim = claimed(work)
        receipt = work.acknowledge(claim.run.id, claim.fence, make_snapshot(), OBJECTS)
        assert (receipt.objects, receipt.object_bytes) == (0, 0)
        assert len(machine.store.repositories.snapshots(folder.id)) == 1


class OwnRepositoriesContract(WithMachine):
    """The machine's repositories."""

    def test_machine_finds_its_repositories_by_name(self, machine: Machine, work: Work) -> None:
        first = make_repository(machine.id, 0)
        machine.store.repositories.add(first)
        assert list(work.repositories()) == [first, machine.repository]
        assert work.repository(first.id) == first

    def test_repository_is_created_once(self, fleet: Fleet, machine: Machine, work: Work) -> None:
        before = fleet.now()
        created = work.report_created(machine.repository.id, "e" * 64)
        assert created.initialised_at is not None
        assert before <= created.initialised_at <= fleet.now()
        assert created == evolve(
            machine.repository, repository_id="e" * 64, initialised_at=created.initialised_at
        )
        assert work.report_created(machine.repository.id, "e" * 64) == created
        with pytest.raises(RepositoryExists):
            work.report_created(machine.repository.id, "d" * 64)
        assert machine.store.repositories.get(created.id) == created

    def test_sheet_is_confirmed_once_and_for_all(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        confirmed = work.confirm_sheet(machine.repository.id)
        assert confirmed.is_protected
        pass_time(fleet, fleet.now())
        assert work.confirm_sheet(machine.repository.id) == confirmed
        assert machine.store.repositories.get(confirmed.id) == confirmed


class QuestionsOfMachineContract(WithMachine):
    """What people ask of the machine."""

    @pytest.fixture
    def question(self, fleet: Fleet, machine: Machine) -> Question:
        now = fleet.now()
        details = {"repository_id": machine.repository.id, "folder": "/\\xff \u202e"}
        return Question(
            *("9" * 32, machine.id, QuestionKind.LIST_FOLDER, details),
            *(now, now + timedelta(minutes=5)),
        )

    def test_question_is_answered(self, machine: Machine, work: Work, question: Question) -> None:
        machine.store.questions.ask(question)
        assert machine.store.questions.get(question.id) == question
        assert work.hello(make_report(), alive_seconds=LONG).has_questions
        assert work.next_question() == question
        assert work.next_question() is None
        assert not work.hello(make_report(), alive_seconds=LONG).has_questions
        answer = Answer(nodes=({"name": "\\xff \u202e", "size": 2**40},), is_cut=True)
        work.answer(question.id, answer)
        work.answer(question.id, Answer(error="too late"))
        assert machine.store.questions.get(question.id) == evolve(question, answer=answer)

    def test_each_question_is_given_to_one_caller(
        self, machine: Machine, work: Work, question: Question
    ) -> None:
        """The one that waits longest first."""
        asked = [
            evolve(question, id=f"{n:032x}", asked_at=question.asked_at + timedelta(seconds=n))
            for n in range(8)
        ]
        for one in reversed(asked):
            machine.store.questions.ask(one)
        assert work.next_question() == asked[0]
        with ThreadPoolExecutor(4) as threads:
            asking = [threads.submit(work.next_question) for _ in range(8)]
        found = [one.result() for one in asking]
        ids = sorted(one.id for one in found if one is not None)
        assert ids == [one.id for one in asked[1:]]

    def test_question_that_nobody_waits_for_is_forgotten(
        self, fleet: Fleet, machine: Machine, work: Work, question: Question
    ) -> None:
        soon = evolve(question, expires_at=fleet.now() + timedelta(seconds=SHORT))
        machine.store.questions.ask(soon)
        pass_time(fleet, soon.expires_at)
        assert machine.store.questions.get(soon.id) is None
        assert work.next_question() is None
        work.answer(soon.id, Answer())
        work.answer("8" * 32, Answer())
        work.answer("\0\ud800", Answer())
        assert machine.store.questions.get(soon.id) is None

    def test_nobody_asks_a_machine_that_is_not_there(
        self, machine: Machine, question: Question
    ) -> None:
        with pytest.raises(AgentNotFound):
            machine.store.questions.ask(evolve(question, agent_id="8" * 32))
        machine.store.agents.revoke(machine.id)
        with pytest.raises(AgentNotFound):
            machine.store.questions.ask(question)
        assert machine.store.questions.get(question.id) is None
        assert machine.store.questions.get("\0\ud800") is None
