"""Objects of a snapshot that are told of in parts: a part of `work_contract`."""

from collections.abc import Sequence

import pytest

from backapp_core.errors import IllegalTransition, InputError, LeaseLost, ObjectMissing
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.managed_repositories import SCHEME, ManagedRepository
from backapp_core.model.receipts import Receipt
from backapp_core.model.work import Claim
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.work import Work
from backapp_core.testing.fleet_fixtures import (
    LONG,
    SHORT,
    Machine,
    OpenWork,
    claimed,
    let_lapse,
    make_repository,
    make_snapshot,
    sees_all,
    sees_nothing,
)
from backapp_core.testing.work_claims_contract import WithMachine

_PARTS = tuple(
    tuple(ObjectSeen(f"data/{part}{number}" + "0" * 62, 100 + number) for number in range(3))
    for part in range(3)
)
_FIRST, _SECOND, _THIRD = _PARTS
_ALL_BYTES = 3 * (100 + 101 + 102)


def _last(part: Sequence[ObjectSeen]) -> str:
    return part[-1].name


class PartsContract(WithMachine):
    """A backup of any size gets one receipt, which counts what was seen and nothing else."""

    @pytest.fixture
    def claim(self, machine: Machine, work: Work) -> Claim:
        """A run that this machine holds."""
        machine.run()
        return claimed(work)

    def test_receipt_counts_the_objects_of_all_parts(self, work: Work, claim: Claim) -> None:
        receipt = _tell(work, claim)
        assert (receipt.objects, receipt.object_bytes) == (9, _ALL_BYTES)
        assert _tell(work, claim) == receipt

    def test_repeated_part_counts_once(self, work: Work, claim: Claim) -> None:
        """Also the first: an answer may be lost."""
        run, fence, snapshot = claim.run.id, claim.fence, make_snapshot()
        for _ in range(2):
            work.see_objects(run, fence, snapshot.id, _FIRST)
        for _ in range(2):
            work.see_objects(run, fence, snapshot.id, _SECOND, after=_last(_FIRST))
        receipt = work.acknowledge(run, fence, snapshot, _THIRD, after=_last(_SECOND))
        assert (receipt.objects, receipt.object_bytes) == (9, _ALL_BYTES)

    def test_who_begins_again_is_told_of_nothing_that_was_seen_before(
        self, work: Work, claim: Claim
    ) -> None:
        run, fence, snapshot = claim.run.id, claim.fence, make_snapshot()
        work.see_objects(run, fence, snapshot.id, _FIRST)
        work.see_objects(run, fence, snapshot.id, _SECOND, after=_last(_FIRST))
        work.see_objects(run, fence, snapshot.id, _FIRST)
        receipt = work.acknowledge(run, fence, snapshot, _THIRD, after=_last(_FIRST))
        assert receipt.objects == 6

    def test_every_part_is_looked_for_as_it_is_told(
        self, machine: Machine, open_work: OpenWork
    ) -> None:
        """So that nobody has to hold all of them at once."""
        asked: list[tuple[ObjectSeen, ...]] = []
        machine.run()
        work = open_work(machine, lambda _, objects: asked.append(tuple(objects)))
        _tell(work, claimed(work))
        assert asked == list(_PARTS)

    def test_part_that_is_not_there_is_not_counted(
        self, machine: Machine, open_work: OpenWork
    ) -> None:
        machine.run()

        def sees_the_first(repository: ManagedRepository, objects: Sequence[ObjectSeen]) -> None:
            if tuple(objects) != _FIRST:
                sees_nothing(repository, objects)

        work = open_work(machine, sees_the_first)
        claim = claimed(work)
        run, fence, snapshot = claim.run.id, claim.fence, make_snapshot()
        work.see_objects(run, fence, snapshot.id, _FIRST)
        with pytest.raises(ObjectMissing, match=_SECOND[0].name):
            work.see_objects(run, fence, snapshot.id, _SECOND, after=_last(_FIRST))
        for objects, after in ((_THIRD, _last(_SECOND)), ((), _last(_SECOND))):
            with pytest.raises(IllegalTransition):
                work.acknowledge(run, fence, snapshot, objects, after=after)
        assert not machine.store.repositories.receipts(machine.repository.id)

    def test_no_object_is_counted_twice(self, work: Work, claim: Claim) -> None:
        """Neither within a part nor in two of them."""
        run, fence, snapshot = claim.run.id, claim.fence, make_snapshot()
        with pytest.raises(InputError):
            work.see_objects(run, fence, snapshot.id, [*_FIRST, _FIRST[0]])
        work.see_objects(run, fence, snapshot.id, _SECOND)
        for part in (_FIRST, [_SECOND[-1], *_THIRD]):
            with pytest.raises(InputError):
                work.see_objects(run, fence, snapshot.id, part, after=_last(_SECOND))
        with pytest.raises(InputError):
            work.acknowledge(run, fence, snapshot, _SECOND, after=_last(_SECOND))
        assert work.acknowledge(run, fence, snapshot, (), after=_last(_SECOND)).objects == 3

    def test_what_was_seen_is_of_one_snapshot(self, work: Work, claim: Claim) -> None:
        run, fence = claim.run.id, claim.fence
        work.see_objects(run, fence, make_snapshot(1).id, _FIRST)
        with pytest.raises(IllegalTransition):
            work.see_objects(run, fence, make_snapshot(2).id, _SECOND, after=_last(_FIRST))
        with pytest.raises(IllegalTransition):
            work.acknowledge(run, fence, make_snapshot(2), _SECOND, after=_last(_FIRST))

    def test_who_takes_a_run_over_begins_anew(
        self, fleet: Fleet, machine: Machine, work: Work
    ) -> None:
        """And whoever lost it counts for nothing any more."""
        machine.run()
        lost = claimed(work, lease_seconds=SHORT)
        snapshot = make_snapshot()
        work.see_objects(lost.run.id, lost.fence, snapshot.id, _FIRST)
        let_lapse(fleet, lost)
        claim = claimed(work, lease_seconds=LONG)
        with pytest.raises(LeaseLost):
            work.see_objects(lost.run.id, lost.fence, snapshot.id, _SECOND, after=_last(_FIRST))
        with pytest.raises(IllegalTransition):
            work.acknowledge(claim.run.id, claim.fence, snapshot, _SECOND, after=_last(_FIRST))
        assert _tell(work, claim).objects == 9

    def test_part_that_arrives_late_takes_nothing_back(
        self, machine: Machine, open_work: OpenWork
    ) -> None:
        """An answer took too long, and whoever waited for it went on meanwhile."""
        machine.run()
        # Another way in than the one whose look into the bucket takes long.
        work = machine.store.work(machine.id, sees_all)
        claim = claimed(work)
        run, fence, snapshot = claim.run.id, claim.fence, make_snapshot()

        def takes_long(repository: ManagedRepository, objects: object) -> None:
            del repository, objects
            work.see_objects(run, fence, snapshot.id, _FIRST)
            work.see_objects(run, fence, snapshot.id, _SECOND, after=_last(_FIRST))

        with pytest.raises(IllegalTransition):
            open_work(machine, takes_long).see_objects(run, fence, snapshot.id, _FIRST)
        receipt = work.acknowledge(run, fence, snapshot, _THIRD, after=_last(_SECOND))
        assert receipt.objects == 9

    def test_folder_of_the_machine_is_not_looked_into_for_parts_either(
        self, machine: Machine, open_work: OpenWork
    ) -> None:
        folder = make_repository(machine.id, 7, address="/srv/backup", is_local=True)
        machine.store.repositories.add(folder)
        machine.job("local", repository=f"{SCHEME}:{folder.id}")
        machine.run(job_name="local")
        work = open_work(machine, sees_nothing)
        assert _tell(work, claimed(work)).objects == 0


def _tell(work: Work, claim: Claim) -> Receipt:
    """Tell of everything in parts, and return the receipt."""
    run, fence, snapshot, after = claim.run.id, claim.fence, make_snapshot(), ""
    for part in _PARTS[:-1]:
        work.see_objects(run, fence, snapshot.id, part, after=after)
        after = _last(part)
    return work.acknowledge(run, fence, snapshot, _THIRD, after=after)
