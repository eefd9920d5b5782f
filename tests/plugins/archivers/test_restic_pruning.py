"""What a prune deletes, copies, marks and leaves, and when it deletes nothing."""

import os
from datetime import timedelta

import msgspec
import pytest

from backapp_core.errors import AccessRefused, DamagedRepository, RepositoryLocked, StorageFull
from backapp_core.model.repositories import CleanUpOptions, CleanUpPlan, RemovalPlan
from backapp_core.model.retention import Within
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase, RecordingTransport
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.files import MarkedPack
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.prune.pruning import Pruner
from backapp_plugins.archivers.restic.prune.removing import remove

DAY = Within(days=1)
ALL = CleanUpOptions(max_unused_bytes=0)


def random_parts(count: int, size_bytes: int = 300_000) -> list[bytes]:
    return [os.urandom(size_bytes) for _ in range(count)]


def prune(by_hand, options: CleanUpOptions = ALL, place=None) -> CleanUpPlan:
    pruner = Pruner(place or by_hand.place)
    return pruner.prune(pruner.plan(options))


def contents(by_hand) -> dict[bytes, bytes]:
    """Return every needed file content, read by way of the index as it is now."""
    index = by_hand.place.load_index()
    table = index.table()
    ids = table.columns.blob_id[table.columns.rows_of_kind(BlobKind.DATA)].tolist()
    return {one: by_hand.place.read_blob(index, BlobKind.DATA, one) for one in set(ids)}


def names_of(packs) -> set[str]:
    return {pack_name(pack_id) for pack_id in packs}


def test_nothing_is_planned_where_everything_is_needed(by_hand):
    by_hand.pack(b"a")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    before = by_hand.bucket.objects
    assert prune(by_hand).objects == ()
    assert by_hand.bucket.objects == before


def test_packs_that_nothing_needs_go_and_index_objects_forget_them(by_hand):
    kept = by_hand.pack(b"a")
    gone = by_hand.pack(b"b")
    tree = by_hand.tree({"file": [b"a"]})
    by_hand.snapshot(tree)
    done = prune(by_hand)
    assert pack_name(gone) in dict(done.objects)
    assert pack_name(kept) in by_hand.names("data/")
    assert pack_name(gone) not in by_hand.names("data/")
    assert contents(by_hand) == {id_of(b"a"): b"a"}
    assert len(by_hand.names("index/")) == 1
    assert prune(by_hand).objects == ()


def test_packs_that_several_index_objects_name_are_named_by_one_afterwards(by_hand):
    """As after a prune that ended when it had written its own index objects."""
    by_hand.pack(b"a")
    by_hand.pack(b"b")
    by_hand.snapshot(by_hand.tree({"file": [b"a", b"b"]}))
    packs = PackTable(by_hand.place.load_index().table())
    for numbers in (range(len(packs)), range(2)):
        by_hand.index(*[(packs.pack_id(number), packs.entries(number)) for number in numbers])
    before = contents(by_hand)
    prune(by_hand, CleanUpOptions())
    assert contents(by_hand) == before
    assert len(by_hand.names("index/")) == 1
    columns = by_hand.place.load_index(uses_cache=False).table().columns
    assert len(columns.naming_pack) == len(columns.pack_id) == 3
    assert prune(by_hand).objects == ()


def test_what_is_needed_beside_what_is_not_is_copied_first(by_hand):
    old = by_hand.pack(b"a", b"b", b"c")
    by_hand.snapshot(by_hand.tree({"file": [b"a", b"c"]}))
    done = prune(by_hand)
    assert done.repacked_bytes > 0
    assert pack_name(old) not in by_hand.names("data/")
    assert contents(by_hand) == {id_of(one): one for one in (b"a", b"c")}


def test_blobs_are_copied_as_they_are_sealed(by_hand):
    parts = random_parts(3, 1000)
    old = by_hand.pack(*parts)
    sealed = by_hand.bucket.objects[pack_name(old)]
    by_hand.snapshot(by_hand.tree({"file": parts[:1]}))
    prune(by_hand)
    index = by_hand.place.load_index()
    [location] = index.locations(BlobKind.DATA, id_of(parts[0]))
    pack = by_hand.bucket.objects[pack_name(location.pack_id)]
    assert pack[location.offset :][: location.length] == sealed[: location.length]


def test_some_unused_space_is_tolerated_in_packs_of_a_good_size(by_hand):
    parts = random_parts(30)
    old = by_hand.pack(*parts)
    by_hand.snapshot(by_hand.tree({"file": parts[1:]}))
    assert prune(by_hand, CleanUpOptions()).objects == ()
    assert Pruner(by_hand.place).plan(CleanUpOptions()).unused_bytes > 300_000
    assert prune(by_hand, CleanUpOptions(max_unused_share=0.01)).repacked_bytes > 8_000_000
    assert pack_name(old) not in by_hand.names("data/")


def test_the_packs_that_free_most_are_copied_first_and_no_more_than_allowed(by_hand):
    parts = random_parts(12)
    little, much = by_hand.pack(*parts[:6]), by_hand.pack(*parts[6:])
    by_hand.snapshot(by_hand.tree({"file": [*parts[1:6], *parts[10:]]}))
    done = prune(by_hand, CleanUpOptions(max_unused_bytes=0, max_repack_bytes=2_000_000))
    assert pack_name(much) in dict(done.objects)
    assert pack_name(little) not in dict(done.objects)
    assert prune(by_hand, CleanUpOptions(max_unused_share=1.0)).objects == ()


def test_trees_are_copied_whatever_is_tolerated(by_hand):
    by_hand.pack(b"a")
    trees = [by_hand.tree({str(number): [b"a"]}, is_listed=False) for number in range(2)]
    by_hand.bucket.stored.clear()
    by_hand.pack(b"a")
    keep = b'{"nodes":[]}\n'
    drop = b'{"nodes":[ ]}\n'
    both = by_hand.pack(keep, drop, kind=BlobKind.TREE)
    by_hand.snapshot(id_of(keep))
    assert trees
    prune(by_hand, CleanUpOptions(max_unused_share=1.0))
    assert pack_name(both) not in by_hand.names("data/")


@pytest.mark.parametrize(("is_small", "options"), [(True, CleanUpOptions()), (False, ALL)])
def test_many_very_small_packs_are_joined_and_a_few_are_not(by_hand, is_small, options):
    del is_small
    parts = random_parts(9, 100)
    for part in parts[:7]:
        by_hand.pack(part)
    by_hand.pack(*parts[7:])
    by_hand.snapshot(by_hand.tree({"file": parts}))
    assert prune(by_hand, options).objects == ()
    more = random_parts(1, 100)
    by_hand.pack(*more)
    by_hand.snapshot(by_hand.tree({"file": parts, "more": more}))
    assert prune(by_hand, options).objects
    assert len(by_hand.names("data/")) == 2
    assert prune(by_hand, options).objects == ()


def test_smaller_ones_than_usual_are_joined_on_request(by_hand):
    parts = random_parts(11, 700_000)
    for part in parts:
        by_hand.pack(part)
    by_hand.snapshot(by_hand.tree({"file": parts}))
    assert prune(by_hand).objects == ()
    assert prune(by_hand, CleanUpOptions(repacks_small=True)).objects
    assert len(by_hand.names("data/")) == 2


def test_one_copy_of_each_blob_stays(by_hand):
    first, second = by_hand.pack(b"a", b"b"), by_hand.pack(b"a", b"c")
    by_hand.snapshot(by_hand.tree({"file": [b"a", b"b", b"c"]}))
    prune(by_hand)
    assert contents(by_hand) == {id_of(one): one for one in (b"a", b"b", b"c")}
    assert len({pack_name(first), pack_name(second)} & by_hand.names("data/")) == 1
    assert prune(by_hand).objects == ()


def test_what_an_interrupted_prune_copied_takes_the_place_of_the_original(by_hand):
    old = by_hand.pack(b"a", b"b", b"unneeded")
    new = by_hand.pack(b"a", b"b")
    by_hand.snapshot(by_hand.tree({"file": [b"a", b"b"]}))
    done = prune(by_hand)
    assert done.repacked_bytes == 0
    assert pack_name(new) in by_hand.names("data/")
    assert pack_name(old) not in by_hand.names("data/")


def test_trees_that_were_never_compressed_are_compressed_on_the_way(by_hand):
    by_hand.pack(b"a")
    tree = by_hand.tree({f"file {number}": [b"a"] for number in range(100)}, is_compressed=False)
    by_hand.snapshot(tree)
    assert prune(by_hand).repacked_bytes > 0
    [location] = by_hand.place.load_index().locations(BlobKind.TREE, tree)
    assert location.length < location.uncompressed
    assert prune(by_hand).objects == ()


def test_a_repository_of_version_1_stays_one(make_by_hand):
    by_hand = make_by_hand(version=1)
    by_hand.pack(b"a", b"b", is_compressed=False)
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}, is_compressed=False))
    assert prune(by_hand).repacked_bytes > 0
    assert contents(by_hand) == {id_of(b"a"): b"a"}
    [location] = by_hand.place.load_index().locations(BlobKind.DATA, id_of(b"a"))
    assert location.uncompressed == 0
    assert prune(by_hand).objects == ()


# --- damage


def damage(by_hand, what: str) -> None:
    stored = by_hand.bucket.stored
    first, *_ = sorted(by_hand.names(what))
    del stored[first]


@pytest.mark.parametrize("kind", ["tree", "data", "index", "cut", "snapshot"])
def test_nothing_is_deleted_if_what_is_needed_is_not_known_or_not_there(by_hand, kind):
    data = by_hand.pack(b"a")
    tree_id = by_hand.tree({"file": [b"a"]})
    snapshot = by_hand.snapshot(tree_id)
    by_hand.pack(b"unneeded")
    [location] = by_hand.place.load_index().locations(BlobKind.TREE, tree_id)
    stored, name = by_hand.bucket.stored, pack_name(data)
    match kind:
        case "tree":
            del stored[pack_name(location.pack_id)]
        case "data":
            del stored[name]
        case "cut":
            by_hand.bucket.store(name, stored[name].data[:-1], replace=True)
        case "snapshot":
            name = f"snapshots/{snapshot}"
            by_hand.bucket.store(name, b"x" + stored[name].data[1:], replace=True)
        case "index":
            by_hand.tree({"other": [b"never stored"]})
            by_hand.snapshot(id_of(next(iter_trees(by_hand, b"other"))))
    recording = RecordingTransport(MemoryTransport(by_hand.bucket))
    pruner = Pruner(by_hand.reach(recording))
    plan = CleanUpPlan(tuple((one, 1) for one in by_hand.names("")), 0, 0, ALL)
    with pytest.raises(DamagedRepository, match=r"nothing was deleted.*(blob|snapshots/)") as info:
        pruner.prune(plan)
    deleted = [one.name for one in recording.operations if one.verb == "delete"]
    assert all(one.startswith("locks/") for one in deleted)
    if kind != "snapshot":
        assert f"snapshot {snapshot[:8]}" in info.value.message or kind == "index"


def iter_trees(by_hand, part: bytes):
    index = by_hand.place.load_index()
    columns = index.table().columns
    for one in columns.blob_id[columns.rows_of_kind(BlobKind.TREE)].tolist():
        tree = by_hand.place.read_blob(index, BlobKind.TREE, one)
        if part in tree:
            yield tree


def test_a_damaged_copy_is_replaced_by_a_whole_one(by_hand):
    old = by_hand.pack(b"a", b"b")
    other = by_hand.pack(b"a", b"c", b"d")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    for pack in (old, other):
        name = pack_name(pack)
        data = by_hand.bucket.stored[name].data
        before = by_hand.bucket.objects
        by_hand.bucket.store(name, bytes([data[0] ^ 1]) + data[1:], replace=True)
        prune(by_hand)
        assert contents(by_hand) == {id_of(b"a"): b"a"}
        by_hand.bucket.stored.clear()
        for one, content in before.items():
            by_hand.bucket.store(one, content, replace=False)


def test_a_blob_without_a_whole_copy_ends_the_prune_before_anything_is_deleted(by_hand):
    old = by_hand.pack(b"a", b"b")
    orphan = by_hand.pack(b"c", is_listed=False)
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    name = pack_name(old)
    data = by_hand.bucket.stored[name].data
    by_hand.bucket.store(name, bytes([data[0] ^ 1]) + data[1:], replace=True)
    with pytest.raises(DamagedRepository, match=id_of(b"a").hex()):
        prune(by_hand)
    assert names_of([old, orphan]) <= by_hand.names("data/")
    assert by_hand.names("locks/") == set()


def test_a_pack_that_only_the_listing_lacks_is_not_missed(by_hand):
    by_hand.pack(b"a")
    gone = by_hand.pack(b"b")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))

    class Forgetful(MemoryTransport):
        def list(self, prefix=""):
            return (one for one in super().list(prefix) if not one.name.startswith("data/"))

    place = by_hand.reach(Forgetful(by_hand.bucket))
    assert pack_name(gone) in dict(prune(by_hand, place=place).objects)
    assert contents(by_hand) == {id_of(b"a"): b"a"}


def test_an_unneeded_pack_that_is_gone_is_no_damage(by_hand):
    by_hand.pack(b"a")
    gone = by_hand.pack(b"b")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    del by_hand.bucket.stored[pack_name(gone)]
    assert pack_name(gone) not in dict(prune(by_hand).objects)
    assert prune(by_hand).objects == ()


def test_an_unneeded_pack_of_a_wrong_size_goes(by_hand):
    by_hand.pack(b"a")
    gone = pack_name(by_hand.pack(b"b"))
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    by_hand.bucket.store(gone, b"short", replace=True)
    assert gone in dict(prune(by_hand).objects)
    assert gone not in by_hand.names("data/")


# --- others at work


def test_what_a_backup_brought_in_meanwhile_stays(by_hand):
    by_hand.pack(b"a")
    mixed = by_hand.pack(b"b", b"c")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    orphan = by_hand.pack(b"d", is_listed=False)
    pruner = Pruner(by_hand.place)
    plan = pruner.plan(ALL)
    assert names_of([mixed, orphan]) <= set(dict(plan.objects))
    by_hand.index((orphan, [PackEntry(BlobKind.DATA, id_of(b"d"), 0, 0, 1)]))
    by_hand.bucket.stored.pop(max(by_hand.names("index/"), key=lambda one: one))
    by_hand.snapshot(by_hand.tree({"file": [b"b"]}))
    done = pruner.prune(plan)
    assert set(contents(by_hand)) >= {id_of(b"a"), id_of(b"b")}
    assert set(dict(done.objects)) <= set(dict(plan.objects))


def test_a_second_prune_is_refused_beside_one(by_hand):
    by_hand.pack(b"a")
    plan = Pruner(by_hand.place).plan(ALL)
    with by_hand.place.hold(is_exclusive=True), pytest.raises(RepositoryLocked):
        Pruner(by_hand.place).prune(plan)
    assert Pruner(by_hand.place).prune(plan) == plan
    done = Pruner(by_hand.place).prune(plan)
    assert done.objects == ()


def test_trees_are_read_once_for_a_plan_and_its_execution(by_hand):
    by_hand.pack(b"a", b"b")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    recording = RecordingTransport(MemoryTransport(by_hand.bucket))
    pruner = Pruner(by_hand.reach(recording))
    plan = pruner.plan(ALL)
    before = len(recording.operations)
    pruner.prune(plan)
    tree_pack = {one.name for one in recording.operations[:before] if one.name.startswith("data/")}
    again = [one for one in recording.operations[before:] if one.verb in {"get", "read"}]
    assert not tree_pack & {one.name for one in again} - {name for name, _ in plan.objects}


def test_a_repository_that_only_grows_is_left_alone(make_by_hand):
    by_hand = make_by_hand(append_only=msgspec.Raw(b"true"))
    by_hand.pack(b"a")
    before = by_hand.bucket.objects
    for verb in (
        lambda: Pruner(by_hand.place).plan(ALL),
        lambda: Pruner(by_hand.place).prune(CleanUpPlan((), 0, 0)),
        lambda: remove(by_hand.place, RemovalPlan((), ("0" * 64,))),
    ):
        with pytest.raises(AccessRefused, match="only grows"):
            verb()
    assert by_hand.bucket.objects == before


# --- marking first, deleting later


def test_what_is_marked_is_deleted_once_it_has_been_for_long_enough(by_hand):
    by_hand.pack(b"a")
    gone = by_hand.pack(b"b", b"c")
    orphan = by_hand.pack(b"d", is_listed=False)
    by_hand.snapshot(by_hand.tree({"file": [b"a", b"c"]}))
    options = CleanUpOptions(max_unused_bytes=0, keep_delete=DAY)
    first = prune(by_hand, options)
    assert {name for name, _ in first.marked} == names_of([gone, orphan])
    assert names_of([gone, orphan]) <= by_hand.names("data/")
    by_hand.clock.advance(timedelta(hours=23).total_seconds())
    again = prune(by_hand, options)
    assert again.objects == ()
    assert {name for name, _ in again.marked} == names_of([gone, orphan])
    by_hand.clock.advance(timedelta(hours=2).total_seconds())
    last = prune(by_hand, options)
    assert {name for name, _ in last.objects if name.startswith("data/")} == names_of(
        [gone, orphan]
    )
    assert not names_of([gone, orphan]) & by_hand.names("data/")
    assert contents(by_hand) == {id_of(one): one for one in (b"a", b"c")}
    assert prune(by_hand, options).objects == ()


def test_what_is_marked_and_needed_again_is_recovered(by_hand):
    marked = by_hand.pack(b"b")
    by_hand.pack(b"a")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    prune(by_hand, CleanUpOptions(keep_delete=DAY))
    assert not by_hand.place.load_index().has(BlobKind.DATA, id_of(b"b"))
    by_hand.snapshot(by_hand.tree({"file": [b"b"]}))
    by_hand.clock.advance(timedelta(days=3).total_seconds())
    done = prune(by_hand, CleanUpOptions(keep_delete=DAY))
    assert done.marked == ()
    assert pack_name(marked) in by_hand.names("data/")
    assert by_hand.place.load_index().has(BlobKind.DATA, id_of(b"b"))


def test_marks_of_others_are_kept_with_their_time(by_hand):
    needed = by_hand.pack(b"a")
    entries = [PackEntry(BlobKind.DATA, id_of(b"b"), 0, 40, 1)]
    old, young = by_hand.pack(b"b", is_listed=False), by_hand.pack(b"c", is_listed=False)
    now = by_hand.clock.now()
    by_hand.index(
        marked=[
            MarkedPack(old, entries, now - timedelta(days=2)),
            MarkedPack(young, (), now - timedelta(hours=1), 5),
        ]
    )
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    done = prune(by_hand, CleanUpOptions(keep_delete=DAY))
    assert pack_name(old) in dict(done.objects)
    assert names_of([needed, young]) <= by_hand.names("data/")
    by_hand.clock.advance(timedelta(hours=23).total_seconds())
    assert pack_name(young) in dict(prune(by_hand, CleanUpOptions(keep_delete=DAY)).objects)


# --- room


def test_a_full_disk_is_emptied_step_by_step(by_hand):
    parts = random_parts(60, 100_000)
    for at in range(0, 60, 10):
        by_hand.pack(*parts[at : at + 10])
    by_hand.pack(*random_parts(5, 100_000))
    by_hand.snapshot(by_hand.tree({"file": [*parts[::2]]}))
    by_hand.pack(os.urandom(3000), is_listed=False)
    full = sum(map(len, by_hand.bucket.objects.values()))
    by_hand.bucket.capacity_bytes = full
    done = prune(by_hand)
    assert done.freed_bytes > 0
    assert contents(by_hand) == {id_of(one): one for one in parts[::2]}
    assert sum(map(len, by_hand.bucket.objects.values())) < full / 2 + 100_000
    by_hand.bucket.capacity_bytes = None
    assert prune(by_hand).objects == ()


def test_a_disk_without_room_for_anything_is_left_as_it_is(by_hand):
    by_hand.pack(b"a", b"b")
    by_hand.snapshot(by_hand.tree({"file": [b"a"]}))
    before = by_hand.bucket.objects
    by_hand.bucket.capacity_bytes = 0
    with pytest.raises(StorageFull):
        prune(by_hand)
    assert by_hand.bucket.objects == before


def test_marks_survive_being_made_part_after_part(by_hand):
    parts = random_parts(12, 1000)
    gone = [by_hand.pack(*parts[at : at + 2]) for at in range(0, 10, 2)]
    orphan = by_hand.pack(b"orphan", is_listed=False)
    by_hand.pack(*parts[10:])
    by_hand.snapshot(by_hand.tree({"file": [*parts[1:5:2], *parts[10:]]}))
    options = CleanUpOptions(max_unused_bytes=0, keep_delete=DAY)
    failures = iter([False, True] * 2 + [False] * 100)

    def strike(operation, phase):
        is_index = operation.verb == "put" and operation.name.startswith("index/")
        if is_index and phase is Phase.BEFORE and next(failures):
            raise StorageFull("no room left")

    by = FaultyTransport(MemoryTransport(by_hand.bucket), strike)
    done = prune(by_hand, options, by_hand.reach(by))
    assert {name for name, _ in done.marked} == names_of([*gone, orphan])
    columns = by_hand.place.load_index().table().columns
    marked = columns.pack_id[columns.pack_is_marked].tolist()
    assert set(marked) == {*gone, orphan}
    assert prune(by_hand, options).objects == ()
    by_hand.clock.advance(timedelta(days=2).total_seconds())
    assert names_of(marked) <= set(dict(prune(by_hand, options).objects))


@pytest.mark.parametrize("number", range(1, 9))
def test_a_write_that_finds_no_room_leaves_nothing_behind(by_hand, number):
    parts = random_parts(8, 1000)
    for at in range(0, 8, 2):
        by_hand.pack(*parts[at : at + 2])
    by_hand.snapshot(by_hand.tree({"file": parts[::2]}))
    count = iter(range(1000))

    def strike(operation, phase):
        is_put = operation.verb == "put" and phase is Phase.BEFORE
        if is_put and not operation.name.startswith("locks/") and next(count) + 1 == number:
            raise StorageFull("no room left")

    prune(by_hand, place=by_hand.reach(FaultyTransport(MemoryTransport(by_hand.bucket), strike)))
    assert contents(by_hand) == {id_of(one): one for one in parts[::2]}
    assert prune(by_hand, CleanUpOptions()).objects == ()


# --- the real one


@pytest.mark.interop
@pytest.mark.parametrize("options", [ALL, CleanUpOptions(), CleanUpOptions(keep_delete=DAY)])
def test_restic_finds_nothing_wrong_afterwards(by_hand, tmp_path, restic_at, options):
    parts = random_parts(20, 5000)
    by_hand.pack(*parts[:10])
    by_hand.pack(*parts[5:15])
    by_hand.pack(*parts[15:])
    below = by_hand.tree({"b": parts[3:9]})
    by_hand.snapshot(by_hand.tree({"a": parts[:3], "c": []}, {"below": below}))
    by_hand.pack(b"orphan", is_listed=False)
    prune(by_hand, options)
    by_hand.write_out(tmp_path / "out")
    restic = restic_at(tmp_path / "out")
    restic.run("check", "--read-data")
    before = by_hand.names("data/")
    restic.run("prune", "--max-unused", "0")
    if options is ALL:
        after = {
            str(one.relative_to(tmp_path / "out"))
            for one in (tmp_path / "out/data").rglob("*")
            if one.is_file()
        }
        assert after == before
