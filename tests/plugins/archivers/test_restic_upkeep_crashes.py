"""Death at every point of removal, prune, repair and copy costs nothing, and the next run goes on.

What dies here is the way to the repository: from one point on nothing is done any more, neither by
the verb nor by whoever cleans up behind it. That locks of dead processes count for nothing is
shown where processes are killed.
"""

import threading
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from attrs import frozen

from backapp_core.model.repositories import CleanUpOptions, RemovalPlan
from backapp_core.model.retention import Within
from backapp_core.testing.fakes import FrozenClock, MemoryBucket, MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Operation, Phase
from backapp_plugins.archivers.restic.copying import copy_snapshots
from backapp_plugins.archivers.restic.format.layout import id_of, pack_name
from backapp_plugins.archivers.restic.listing import all_records
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.needs import needed_rows
from backapp_plugins.archivers.restic.prune.pack_use import take_stock
from backapp_plugins.archivers.restic.prune.pruning import Pruner
from backapp_plugins.archivers.restic.prune.removing import remove, retag
from backapp_plugins.archivers.restic.repair.index_repair import repair_index
from backapp_plugins.archivers.restic.repair.pack_repair import repair_packs
from backapp_plugins.archivers.restic.repair.recovering import recover
from backapp_plugins.archivers.restic.repair.snapshot_repair import repair_snapshots

pytestmark = pytest.mark.thorough


class Death(BaseException):
    """No handler may catch it."""


class Killer:
    """Strikes at one point, and at every one that is passed afterwards."""

    def __init__(self, number: int, phase: Phase) -> None:
        self._point = number, list(Phase).index(phase)
        self._lock = threading.Lock()
        self.is_dead = False

    def __call__(self, operation: Operation, now: Phase) -> None:
        with self._lock:
            if (operation.number, list(Phase).index(now)) >= self._point:
                self.is_dead = True
            if self.is_dead:
                raise Death


def snapshots_of(place: Place) -> list:
    return [record.snapshot for record in all_records(place)]


@frozen
class Case:
    """A repository in the state of a bucket, and what is done to it."""

    prepare: Callable[..., None]
    run: Callable[[Place], object]
    loses: int = 0
    """How many snapshots may be gone afterwards."""
    adds: int = 0
    """How many of them may have others in their place."""
    may_prune: bool = True
    """Whether nothing is lost any more afterwards."""


def fill(by_hand) -> None:
    """Two snapshots, content that nothing needs beside theirs, and an orphan."""
    by_hand.pack(b"a", b"b", b"unneeded")
    by_hand.pack(b"c", b"a")
    by_hand.pack(b"nothing needs this")
    below = by_hand.tree({"below": [b"a", b"c"]})
    by_hand.snapshot(by_hand.tree({"one": [b"a", b"b"]}, {"folder": below}))
    by_hand.snapshot(by_hand.tree({"two": [b"c"]}))
    by_hand.pack(b"orphan", is_listed=False)


def damage(by_hand) -> None:
    fill(by_hand)
    pack = by_hand.pack(b"d", b"e")
    by_hand.snapshot(by_hand.tree({"de": [b"e"]}))
    by_hand.damaged = pack.hex()
    data = by_hand.bucket.stored[pack_name(pack)].data
    by_hand.bucket.store(pack_name(pack), bytes([data[0] ^ 1]) + data[1:], replace=True)


def lose_index(by_hand) -> None:
    fill(by_hand)
    for name in sorted(by_hand.names("index/"))[:3]:
        del by_hand.bucket.stored[name]


def lose_content(by_hand) -> None:
    fill(by_hand)
    pack = by_hand.pack(b"lost")
    by_hand.snapshot(by_hand.tree({"file": [b"lost", b"c"]}))
    del by_hand.bucket.stored[pack_name(pack)]
    repair_index(by_hand.place, reads_all_packs=False, is_dry=False)


def lose_snapshots(by_hand) -> None:
    fill(by_hand)
    del by_hand.bucket.stored[min(by_hand.names("snapshots/"))]


def prune(place: Place, **options: object) -> None:
    pruner = Pruner(place)
    pruner.prune(pruner.plan(CleanUpOptions(max_unused_bytes=0, **options)))


def first_of(place: Place) -> RemovalPlan:
    """Return the plan to remove the snapshot that was made first."""
    first_at = FrozenClock().now() + timedelta(seconds=1)
    return RemovalPlan((), tuple(one.id for one in snapshots_of(place) if one.taken_at == first_at))


def salvage(place: Place) -> None:
    damaged = min(
        info.name
        for info in place.transport.list("data/")
        if id_of(place.transport.read(info.name)).hex() != info.name.rpartition("/")[2]
    )
    repair_packs(place, [damaged], is_dry=False)


CASES = {
    "remove": Case(fill, lambda place: remove(place, first_of(place)), loses=1),
    "retag": Case(fill, lambda place: retag(place, snapshots_of(place)[-1], ["new"]), adds=1),
    "prune": Case(fill, prune),
    "prune in two steps": Case(fill, lambda place: prune(place, keep_delete=Within(days=1))),
    "repair index": Case(
        lose_index, lambda place: repair_index(place, reads_all_packs=False, is_dry=False)
    ),
    "repair index from scratch": Case(
        fill, lambda place: repair_index(place, reads_all_packs=True, is_dry=False)
    ),
    "repair packs": Case(damage, salvage),
    "repair snapshots": Case(
        lose_content,
        lambda place: repair_snapshots(place, snapshots_of(place), forgets=False, is_dry=False),
        may_prune=False,
    ),
    "repair and forget snapshots": Case(
        lose_content,
        lambda place: repair_snapshots(place, snapshots_of(place), forgets=True, is_dry=False),
        adds=1,
        loses=1,
    ),
    "recover": Case(lose_snapshots, recover, adds=1),
}


def readable(place: Place) -> dict[str, set[bytes]]:
    """Return which blobs of each snapshot come back whole."""
    index = place.load_index(uses_cache=False)
    table = index.table()
    is_safe = take_stock(place, table).is_safe()
    found = {}
    for record in all_records(place):
        roots = {bytes.fromhex(record.snapshot.id): record.tree}
        needed, _ = needed_rows(place, index, roots, is_safe)
        whole = set()
        for row in np.flatnonzero(needed).tolist():
            kind = table.kind()[row]
            blob_id = table.columns.blob_id[row].tobytes()
            for location in table.locations(kind, blob_id):
                try:
                    place.read_at(location, blob_id)
                except ValueError:
                    continue
                whole.add(blob_id)
        found[record.snapshot.id] = whole
    return found


def reach(by_hand, objects: dict[str, bytes]) -> MemoryBucket:
    bucket = MemoryBucket(clock=by_hand.clock)
    for name, data in objects.items():
        bucket.store(name, data, replace=False)
    return bucket


def points(transport: FaultyTransport) -> list[tuple[int, Phase]]:
    return [(one.number, phase) for one in transport.operations for phase in Phase]


@pytest.mark.parametrize("name", CASES)
def test_death_at_some_points_costs_nothing(by_hand, name):
    sweep(by_hand, CASES[name], every=23)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", CASES)
def test_death_at_any_point_costs_nothing(by_hand, name):
    sweep(by_hand, CASES[name], every=1)


def sweep(by_hand, case: Case, *, every: int) -> None:
    case.prepare(by_hand)
    objects = by_hand.bucket.objects
    before = readable(by_hand.place)
    counting = FaultyTransport(
        MemoryTransport(reach(by_hand, objects)), lambda operation, phase: None
    )
    case.run(by_hand.reach(counting))
    assert len(points(counting)) > 15
    for number, phase in points(counting)[::every]:
        bucket = reach(by_hand, objects)
        killer = Killer(number, phase)
        dying = by_hand.reach(FaultyTransport(MemoryTransport(bucket), killer))
        try:
            case.run(dying)
        except Death:
            assert killer.is_dead
        for lock in [one for one in bucket.objects if one.startswith("locks/")]:
            del bucket.stored[lock]
        place = by_hand.reach(MemoryTransport(bucket))
        require_no_less(readable(place), before, case)
        case.run(place)
        require_no_less(readable(place), before, case)
        if case.may_prune:
            prune(place)
            require_no_less(readable(place), before, case)
            assert Pruner(place).plan(CleanUpOptions(max_unused_bytes=0)).objects == ()
        assert not [one for one in bucket.objects if one.startswith("locks/")]


def require_no_less(now: dict, before: dict, case: Case) -> None:
    gone = before.keys() - now.keys()
    assert len(gone) <= case.loses + case.adds
    for snapshot_id in before.keys() & now.keys():
        assert now[snapshot_id] >= before[snapshot_id]


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_a_copy_that_dies_is_completed_by_the_next(by_hand, make_by_hand, every):
    fill(by_hand)
    other = make_by_hand()
    counting = FaultyTransport(MemoryTransport(other.bucket), lambda operation, phase: None)
    wanted = snapshots_of(by_hand.place)
    copy_snapshots(by_hand.place, other.reach(counting), wanted)
    complete = len(other.names("data/"))
    for number, phase in points(counting)[::every]:
        bucket = MemoryBucket(clock=other.clock)
        killer = Killer(number, phase)
        dying = other.reach(FaultyTransport(MemoryTransport(bucket), killer))
        try:
            copy_snapshots(by_hand.place, dying, wanted)
        except Death:
            assert killer.is_dead
        for lock in [one for one in bucket.objects if one.startswith("locks/")]:
            del bucket.stored[lock]
        for lock in by_hand.names("locks/"):
            del by_hand.bucket.stored[lock]
        place = other.reach(MemoryTransport(bucket))
        published = readable(place)
        copy_snapshots(by_hand.place, place, wanted)
        now = readable(place)
        assert len(now) == len(wanted)
        assert {one.original_id for one in snapshots_of(place)} == {one.id for one in wanted}
        assert all(now[one] == published[one] for one in published)
        prune(place)
        assert readable(place) == now
        assert len([one for one in bucket.objects if one.startswith("data/")]) <= complete
