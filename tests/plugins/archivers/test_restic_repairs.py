"""Repairs find what is there, make the best of it, and take nothing away that anybody may want."""

import os

import pytest

from backapp_core.errors import DamagedRepository, InputError, RepositoryLocked
from backapp_core.model.repositories import CleanUpOptions
from backapp_core.model.retention import Within
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import RecordingTransport
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.trees import decode_tree
from backapp_plugins.archivers.restic.listing import all_records
from backapp_plugins.archivers.restic.prune.pruning import Pruner
from backapp_plugins.archivers.restic.repair.index_repair import repair_index
from backapp_plugins.archivers.restic.repair.pack_repair import repair_packs
from backapp_plugins.archivers.restic.repair.recovering import recover
from backapp_plugins.archivers.restic.repair.snapshot_repair import repair_snapshots

pytestmark = pytest.mark.thorough


def mend_index(by_hand, *, reads_all_packs: bool = False, is_dry: bool = False):
    return repair_index(by_hand.place, reads_all_packs=reads_all_packs, is_dry=is_dry)


def mend_packs(by_hand, *packs: bytes, is_dry: bool = False):
    return repair_packs(by_hand.place, [one.hex() for one in packs], is_dry=is_dry)


def mend_snapshots(by_hand, *, forgets: bool = False, is_dry: bool = False):
    snapshots = [record.snapshot for record in all_records(by_hand.place)]
    return repair_snapshots(by_hand.place, snapshots, forgets=forgets, is_dry=is_dry)


def blob_map(by_hand) -> dict:
    """Return where the index says that each blob is."""
    index = by_hand.place.load_index()
    columns = index.table().columns
    return {
        (kind, one): set(index.locations(kind, one))
        for kind in BlobKind
        for one in columns.blob_id[columns.rows_of_kind(kind)].tolist()
    }


def damage(by_hand, pack: bytes, *, at: int = 0) -> None:
    """Flip a bit of a pack."""
    name = pack_name(pack)
    data = bytearray(by_hand.bucket.stored[name].data)
    data[at] ^= 1
    by_hand.bucket.store(name, bytes(data), replace=True)


def cut(by_hand, pack: bytes, size_bytes: int) -> None:
    name = pack_name(pack)
    by_hand.bucket.store(name, by_hand.bucket.stored[name].data[:size_bytes], replace=True)


@pytest.fixture
def filled(by_hand):
    """A repository with two packs of content and two snapshots."""
    by_hand.packs = [by_hand.pack(b"a", b"b"), by_hand.pack(b"c", b"d")]
    below = by_hand.tree({"below": [b"a", b"c"]})
    first = by_hand.tree({"one": [b"a", b"b"], "two": [b"c"]}, {"folder": below})
    by_hand.snapshot(first)
    by_hand.snapshot(by_hand.tree({"one": [b"d"]}))
    return by_hand


# --- the index


@pytest.mark.parametrize("reads_all_packs", [False, True])
@pytest.mark.parametrize("lost", ["one", "all", "none", "damaged"])
def test_an_index_is_made_again_from_what_packs_say(filled, lost, reads_all_packs):
    before = blob_map(filled)
    names = sorted(filled.names("index/"))
    if lost == "damaged":
        filled.bucket.store(names[0], b"nonsense", replace=True)
    elif lost != "none":
        for name in names if lost == "all" else names[:1]:
            del filled.bucket.stored[name]
    found = mend_index(filled, reads_all_packs=reads_all_packs, is_dry=True)
    assert mend_index(filled, reads_all_packs=reads_all_packs) == found
    assert blob_map(filled) == before
    assert found.is_empty == (lost == "none" and not reads_all_packs)
    assert mend_index(filled).is_empty


def test_a_repaired_index_forgets_missing_packs_and_keeps_the_rest(filled):
    gone, kept = filled.packs
    del filled.bucket.stored[pack_name(gone)]
    found = mend_index(filled)
    assert found.missing == (pack_name(gone),)
    assert not filled.place.load_index().has(BlobKind.DATA, id_of(b"a"))
    assert filled.place.load_index().has(BlobKind.DATA, id_of(b"c"))
    assert pack_name(kept) in filled.names("data/")
    assert mend_index(filled).is_empty


def test_what_the_index_says_of_a_pack_stays_if_the_pack_says_nothing(filled):
    before = blob_map(filled)
    pack = filled.packs[0]
    cut(filled, pack, len(filled.bucket.stored[pack_name(pack)].data) - 10)
    found = mend_index(filled)
    assert [name for name, _ in found.unreadable] == [pack_name(pack)]
    assert found.is_empty
    assert blob_map(filled) == before


def test_a_pack_in_which_another_was_written_is_read(filled):
    pack = filled.packs[0]
    other = filled.bucket.stored[pack_name(filled.pack(b"other", is_listed=False))].data
    filled.bucket.store(pack_name(pack), other, replace=True)
    found = mend_index(filled)
    assert pack_name(pack) in found.read
    assert filled.place.load_index().has(BlobKind.DATA, id_of(b"other"))


def test_marks_outlive_a_repair(filled):
    gone = filled.pack(b"unneeded")
    pruner = Pruner(filled.place)
    pruner.prune(pruner.plan(CleanUpOptions(keep_delete=Within(days=1))))
    mend_index(filled, reads_all_packs=True)
    columns = filled.place.load_index().table().columns
    assert columns.pack_id[columns.pack_is_marked].tolist() == [gone]


def test_a_dry_run_writes_nothing_but_its_lock(filled):
    del filled.bucket.stored[pack_name(filled.packs[0])]
    filled.pack(b"orphan", is_listed=False)
    damage(filled, filled.packs[1])
    before = filled.bucket.objects
    mend_index(filled, is_dry=True)
    mend_packs(filled, filled.packs[1], is_dry=True)
    mend_index(filled)
    after = filled.bucket.objects
    mend_snapshots(filled, forgets=True, is_dry=True)
    assert filled.bucket.objects == after
    assert before.keys() - after.keys() <= filled.names("index/") | {
        name for name in before if name.startswith("index/")
    }


def test_repairs_are_refused_beside_others(filled):
    with filled.place.hold(is_exclusive=False):
        for verb in (
            lambda: mend_index(filled),
            lambda: mend_packs(filled, filled.packs[0]),
            lambda: mend_snapshots(filled, forgets=True),
        ):
            with pytest.raises(RepositoryLocked):
                verb()


# --- packs


def test_what_can_be_read_of_a_damaged_pack_is_saved(filled):
    pack = filled.packs[0]
    damage(filled, pack)
    [dry] = mend_packs(filled, pack, is_dry=True)
    [found] = mend_packs(filled, pack)
    assert found == dry
    assert found.lost == (id_of(b"a").hex(),)
    assert found.salvaged == 1
    assert found.is_dropped
    index = filled.place.load_index()
    assert filled.place.read_blob(index, BlobKind.DATA, id_of(b"b")) == b"b"
    assert not index.has(BlobKind.DATA, id_of(b"a"))
    assert pack_name(pack) in filled.names("data/")


def test_a_cut_pack_is_read_as_far_as_it_goes(filled):
    pack = filled.packs[0]
    cut(filled, pack, 60)
    [found] = mend_packs(filled, pack)
    assert (found.salvaged, found.lost) == (1, (id_of(b"b").hex(),))


def test_a_whole_pack_is_left_alone_and_a_repaired_one_is_not_repaired_again(filled):
    whole, pack = filled.packs
    damage(filled, pack)
    mend_packs(filled, pack)
    before = filled.bucket.objects
    [nothing, again] = mend_packs(filled, whole, pack)
    assert (nothing.is_dropped, nothing.salvaged) == (False, 0)
    assert (again.is_dropped, again.salvaged) == (False, 0)
    assert filled.bucket.objects == before


def test_a_blob_that_stands_elsewhere_is_not_lost(filled):
    pack = filled.packs[0]
    filled.pack(b"a", b"more")
    damage(filled, pack)
    [found] = mend_packs(filled, pack)
    assert found.lost == ()


def test_a_damaged_header_alone_is_a_reason_to_pack_anew(filled):
    pack = filled.packs[0]
    damage(filled, pack, at=-10)
    [found] = mend_packs(filled, pack)
    assert (found.salvaged, found.lost, found.is_dropped) == (2, (), True)


@pytest.mark.parametrize("name", ["", "ff" * 32, "xyz", "data/"])
def test_what_names_no_pack_is_refused(filled, name):
    before = filled.bucket.objects
    with pytest.raises(InputError, match="means no pack"):
        repair_packs(filled.place, [name], is_dry=False)
    assert filled.bucket.objects == before


# --- snapshots


def lose(by_hand, pack: bytes) -> None:
    del by_hand.bucket.stored[pack_name(pack)]
    mend_index(by_hand)


def files_of(by_hand, tree: bytes) -> dict:
    index = by_hand.place.load_index()
    nodes = decode_tree(by_hand.place.read_blob(index, BlobKind.TREE, tree))
    return {
        node.name: (node.size, node.content) if node.subtree is None else node.subtree
        for node in nodes
    }


def test_a_snapshot_is_made_anew_without_what_is_lost(filled):
    first, second = all_records(filled.place)
    lose(filled, filled.packs[0])
    dry = mend_snapshots(filled, is_dry=True)
    [found] = mend_snapshots(filled)
    assert [(one.before, one.changes) for one in dry] == [(found.before, found.changes)]
    assert found.before == first.snapshot
    assert sorted(path for path, _ in found.changes) == [b"/folder/below", b"/one"]
    records = {one.snapshot.id: one for one in all_records(filled.place)}
    assert set(records) == {first.snapshot.id, second.snapshot.id, found.after.id}
    assert found.after.original_id == first.snapshot.id
    assert found.after.tags == ("repaired",)
    files = files_of(filled, records[found.after.id].tree)
    assert files["one"] == (0, [])
    assert files["two"] == (1, [id_of(b"c").hex()])
    below = files_of(filled, bytes.fromhex(files["folder"]))
    assert below == {"below": (1, [id_of(b"c").hex()])}
    before = filled.bucket.objects
    assert mend_snapshots(filled) == []
    assert filled.bucket.objects == before


def test_a_former_snapshot_goes_if_that_is_asked_for(filled):
    first, second = all_records(filled.place)
    lose(filled, filled.packs[0])
    [found] = mend_snapshots(filled, forgets=True)
    assert found.is_removed
    assert {one.snapshot.id for one in all_records(filled.place)} == {
        second.snapshot.id,
        found.after.id,
    }
    assert found.after.tags == ()
    assert first.snapshot.id == found.after.original_id


def test_a_folder_that_is_lost_is_empty_afterwards(filled):
    tree = filled.tree({"deep": [b"d"]})
    [location] = filled.place.load_index().locations(BlobKind.TREE, tree)
    filled.snapshot(filled.tree({"top": [b"d"]}, {"folder": filled.tree({}, {"in": tree})}))
    lose(filled, location.pack_id)
    [found] = mend_snapshots(filled)
    assert [path for path, _ in found.changes] == [b"/folder/in"]
    record = next(one for one in all_records(filled.place) if one.snapshot == found.after)
    folder = bytes.fromhex(files_of(filled, record.tree)["folder"])
    assert files_of(filled, bytes.fromhex(files_of(filled, folder)["in"])) == {}


def test_what_others_wrote_into_nodes_stays(filled):
    content = id_of(b"a").hex(), id_of(b"c").hex()
    listed = ",".join(f'"{one}"' for one in content)
    node = f'{{"name":"x","type":"file","size":2,"content":[{listed}],"label":{{"k": [1]}}}}'
    other = '{"name":"y", "type":"symlink","linktarget":"\\u003c","content":null}'
    tree = f'{{"nodes":[{node},{other}]}}\n'.encode()
    filled.pack(tree, kind=BlobKind.TREE)
    filled.snapshot(id_of(tree))
    lose(filled, filled.packs[0])
    found = [one for one in mend_snapshots(filled) if one.before.tags == ()][-1]
    record = next(one for one in all_records(filled.place) if one.snapshot == found.after)
    index = filled.place.load_index()
    mended = filled.place.read_blob(index, BlobKind.TREE, record.tree)
    kept = node.replace(f'"{content[0]}",', "").replace('"size":2', '"size":1')
    assert mended == f'{{"nodes":[{kept},{other}]}}\n'.encode()


@pytest.mark.parametrize("forgets", [False, True])
def test_a_snapshot_of_which_nothing_can_be_read_goes_only_on_request(by_hand, forgets):
    tree = by_hand.tree({})
    snapshot = by_hand.snapshot(tree)
    [location] = by_hand.place.load_index().locations(BlobKind.TREE, tree)
    lose(by_hand, location.pack_id)
    [found] = mend_snapshots(by_hand, forgets=forgets)
    assert found.after is None
    assert (f"snapshots/{snapshot}" in by_hand.names("snapshots/")) != forgets


def test_snapshots_are_not_repaired_while_the_index_is_wrong(filled):
    del filled.bucket.stored[pack_name(filled.packs[0])]
    before = filled.bucket.objects
    with pytest.raises(DamagedRepository, match="repair index first"):
        mend_snapshots(filled)
    assert filled.bucket.objects == before


def test_very_deep_trees_are_mended(by_hand):
    pack = by_hand.pack(b"lost")
    by_hand.pack(b"kept")
    tree = by_hand.tree({"file": [b"lost", b"kept"]})
    for _ in range(1500):
        tree = by_hand.tree({}, {"d": tree}, is_listed=False)
    mend_index(by_hand)
    by_hand.snapshot(tree)
    lose(by_hand, pack)
    [found] = mend_snapshots(by_hand)
    [(path, _)] = found.changes
    assert path == b"/d" * 1500 + b"/file"


# --- what nothing leads to


def test_directories_that_nothing_leads_to_are_found_again(filled):
    first, second = all_records(filled.place)
    assert recover(filled.place) is None
    for name in filled.names("snapshots/"):
        del filled.bucket.stored[name]
    snapshot = recover(filled.place)
    assert (snapshot.tags, snapshot.roots) == (("recovered",), (b"/recover",))
    [record] = all_records(filled.place)
    folders = files_of(filled, record.tree)
    assert folders == {tree.hex()[:8]: tree.hex() for tree in (first.tree, second.tree)}
    assert recover(filled.place) is None


def test_a_file_that_looks_like_a_directory_is_not_recovered(by_hand):
    false = b'{"nodes":[]}\n'
    by_hand.pack(false)
    by_hand.snapshot(by_hand.tree({"false": [false]}))
    assert recover(by_hand.place) is None


# --- all of them


def test_no_repair_deletes_content_or_snapshots(filled):
    damage(filled, filled.packs[0])
    del filled.bucket.stored[pack_name(filled.packs[1])]
    recording = RecordingTransport(MemoryTransport(filled.bucket))
    place = filled.reach(recording)
    repair_packs(place, [filled.packs[0].hex()], is_dry=False)
    repair_index(place, reads_all_packs=False, is_dry=False)
    snapshots = [record.snapshot for record in all_records(place)]
    repair_snapshots(place, snapshots, forgets=False, is_dry=False)
    recover(place)
    deleted = {one.name for one in recording.operations if one.verb == "delete"}
    assert {name.partition("/")[0] for name in deleted} == {"locks", "index"}


@pytest.mark.interop
def test_restic_agrees_that_everything_is_mended(filled, tmp_path, restic_at):
    damage(filled, filled.packs[0])
    gone = filled.pack(os.urandom(5000), b"e")
    filled.snapshot(filled.tree({"e": [b"e", b"d"]}))
    del filled.bucket.stored[pack_name(gone)]
    mend_packs(filled, filled.packs[0])
    mend_index(filled)
    mend_snapshots(filled, forgets=True)
    pruner = Pruner(filled.place)
    pruner.prune(pruner.plan(CleanUpOptions()))
    filled.write_out(tmp_path / "out")
    restic = restic_at(tmp_path / "out")
    restic.run("check", "--read-data")
    restic.run("rebuild-index", "--read-all-packs")
    restic.run("check")
    assert "repaired" not in restic.run("snapshots", "--json")
