"""What every `Work` must do.

Inherit `WorkContract` and supply `fleet`, an empty one; where machines reach it another way than
through `TenantStore.work`, supply `open_work`, too. A method of the port that has no case here
fails `test_every_method_has_a_case`.
"""

from collections.abc import Callable

import pytest
from attrs import frozen

from backapp_core.errors import AgentRevoked, RepositoryNotFound, RunNotFound
from backapp_core.model.runs import RunState
from backapp_core.model.work import Answer, Claim, Question
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.work import Work
from backapp_core.testing.fleet_fixtures import (
    INSTANCE,
    LONG,
    OBJECTS,
    OTHER_INSTANCE,
    Machine,
    OpenWork,
    claimed,
    complete,
    everything,
    make_machine,
    make_question,
    make_report,
    make_snapshot,
    outcome_of,
    sees_all,
)
from backapp_core.testing.store_fixtures import HOSTILE
from backapp_core.testing.work_claims_contract import (
    ClaimContract,
    PresenceContract,
    RunningContract,
    WithMachine,
)
from backapp_core.testing.work_holding_contract import HoldingContract
from backapp_core.testing.work_parts_contract import PartsContract
from backapp_core.testing.work_receipts_contract import (
    OwnRepositoriesContract,
    QuestionsOfMachineContract,
    ReceiptsContract,
)
from backapp_core.testing.work_restores_contract import RestoresContract


@frozen
class _Theirs:
    """What another machine has."""

    machine: Machine
    claim: Claim
    question: Question


_Case = tuple[Callable[[Work, _Theirs], object], object]

# A call that names another machine's things, and what becomes of it: an error, or what is returned.
_CASES: dict[str, _Case] = {
    "hello": (lambda work, _: work.hello(make_report(), alive_seconds=LONG).has_work, False),
    "goodbye": (lambda work, _: work.goodbye(INSTANCE), None),
    "claim": (lambda work, _: work.claim(INSTANCE, lease_seconds=LONG), None),
    "renew": (
        lambda work, it: work.renew(it.claim.run.id, it.claim.fence, lease_seconds=LONG),
        RunNotFound,
    ),
    "report": (lambda work, it: work.report(it.claim.run.id, it.claim.fence, []), RunNotFound),
    "hand_back": (lambda work, it: work.hand_back(it.claim.run.id, it.claim.fence), RunNotFound),
    "finish": (lambda work, it: work.finish(it.claim.fence, complete(it.claim)), RunNotFound),
    "see_objects": (
        lambda work, it: work.see_objects(
            it.claim.run.id, it.claim.fence, make_snapshot().id, OBJECTS
        ),
        RunNotFound,
    ),
    "acknowledge": (
        lambda work, it: work.acknowledge(
            it.claim.run.id, it.claim.fence, make_snapshot(), OBJECTS
        ),
        RunNotFound,
    ),
    "repository": (
        lambda work, it: work.repository(it.machine.repository.id),
        RepositoryNotFound,
    ),
    "repositories": (
        lambda work, it: it.machine.repository in work.repositories(),
        False,
    ),
    "report_created": (
        lambda work, it: work.report_created(it.machine.repository.id, "e" * 64),
        RepositoryNotFound,
    ),
    "confirm_sheet": (
        lambda work, it: work.confirm_sheet(it.machine.repository.id),
        RepositoryNotFound,
    ),
    "next_question": (lambda work, _: work.next_question(), None),
    "answer": (lambda work, it: work.answer(it.question.id, Answer()), None),
}


class NeighboursContract(WithMachine):
    """What another machine, or one whose key was taken back, may not do."""

    @pytest.fixture(params=["same tenant", "other tenant"])
    def theirs(self, fleet: Fleet, open_work: OpenWork, request: pytest.FixtureRequest) -> _Theirs:
        """A machine with a run under way, another that waits, and a question."""
        tenant_id = 1 if request.param == "same tenant" else fleet.add_tenant("other").id
        machine = make_machine(fleet, 2, tenant_id=tenant_id)
        machine.job("theirs")
        machine.job("waiting")
        machine.run(21, job_name="theirs")
        work = open_work(machine, sees_all)
        work.hello(make_report(OTHER_INSTANCE), alive_seconds=LONG)
        claim = claimed(work)
        machine.run(22, job_name="waiting")
        question = make_question(fleet, machine)
        machine.store.questions.ask(question)
        return _Theirs(machine, claim, question)

    def test_every_method_has_a_case(self) -> None:
        """So that a new method cannot be left out below."""
        assert set(_CASES) == Work.__abstractmethods__

    def test_things_of_another_machine_cannot_be_had(self, work: Work, theirs: _Theirs) -> None:
        """By no method, and nothing of them changes."""
        before = everything(theirs.machine)
        for name, (call, outcome) in sorted(_CASES.items()):
            assert outcome_of(call, work, theirs) == outcome, name
            assert everything(theirs.machine) == before, name

    def test_machine_whose_key_was_taken_back_may_do_nothing(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        """Its waiting run is cancelled, the one under way failed; its own things are kept."""
        machine.job("waiting")
        machine.run(1)
        claim = claimed(work)
        machine.run(2, job_name="waiting")
        question = make_question(fleet, machine)
        machine.store.questions.ask(question)
        assert machine.store.agents.revoke(machine.id).revoked_at is not None
        before = everything(machine)
        own = _Theirs(machine, claim, question)
        for name, (call, _) in sorted(_CASES.items()):
            assert outcome_of(call, work, own) is AgentRevoked, name
        assert everything(machine) == before
        states = {run.state for run in before["runs"]}
        assert states == {RunState.CANCELLED, RunState.FAILED}

    def test_hostile_words_are_ids_of_nothing(self, work: Work) -> None:
        """Nothing in them is a pattern."""
        for word in HOSTILE:
            with pytest.raises(RunNotFound) as no_run:
                work.renew(word, 1, lease_seconds=LONG)
            with pytest.raises(RepositoryNotFound) as no_repository:
                work.repository(word)
            assert no_run.value.message.isprintable()
            assert no_repository.value.message.isprintable()
            assert outcome_of(work.confirm_sheet, word) is RepositoryNotFound


class WorkContract(
    PresenceContract,
    ClaimContract,
    HoldingContract,
    RestoresContract,
    RunningContract,
    ReceiptsContract,
    PartsContract,
    OwnRepositoriesContract,
    QuestionsOfMachineContract,
    NeighboursContract,
):
    """Everything that a machine may ask, and nothing else."""
