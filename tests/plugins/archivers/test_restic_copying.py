"""Copies of snapshots are whole, made once, and sealed with the other repository's key."""

import pytest
from attrs import evolve

from backapp_core.errors import DamagedRepository, InputError, RepositoryLocked
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import RecordingTransport
from backapp_plugins.archivers.restic import copying
from backapp_plugins.archivers.restic.access.keys import OpenedKey
from backapp_plugins.archivers.restic.copying import copy_snapshots
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.listing import all_records
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.removing import retag

OTHER_KEY = OpenedKey(b"o" * 32, MasterKey(b"E" * 32, b"K" * 16, b"R" * 16))


@pytest.fixture
def source(make_by_hand):
    by_hand = make_by_hand()
    by_hand.pack(b"a", b"b")
    by_hand.pack(b"c")
    below = by_hand.tree({"below": [b"a", b"c"]})
    by_hand.snapshot(by_hand.tree({"one": [b"a", b"b"]}, {"folder": below}))
    by_hand.snapshot(by_hand.tree({"one": [b"a"]}, {"folder": below}))
    return by_hand


@pytest.fixture
def target(make_by_hand):
    by_hand = make_by_hand()
    by_hand.config = evolve(by_hand.config, id="1" * 64)
    by_hand.place = Place(
        MemoryTransport(by_hand.bucket), by_hand.config, OTHER_KEY, by_hand.surroundings
    )
    return by_hand


def snapshots(by_hand) -> list:
    return [record.snapshot for record in all_records(by_hand.place)]


def copy(source, target, *, place=None):
    return copy_snapshots(place or source.place, target.place, snapshots(source))


def blobs(by_hand) -> dict:
    """Return every blob that the index names, read and verified."""
    index = by_hand.place.load_index()
    columns = index.table().columns
    return {
        (kind, one): by_hand.place.read_blob(index, kind, one)
        for kind in BlobKind
        for one in columns.blob_id[columns.rows_of_kind(kind)].tolist()
    }


def test_a_copy_has_the_same_blobs_and_tells_where_it_is_from(source, target):
    done = copy(source, target)
    assert all(one.is_new for one in done)
    assert blobs(target) == blobs(source)
    for one in done:
        assert one.copy.original_id == one.source.id
        assert one.copy.parent_id is None
        assert one.copy.taken_at == one.source.taken_at
    assert [one.tree for one in all_records(target.place)] == [
        one.tree for one in all_records(source.place)
    ]


def test_what_was_copied_is_not_copied_again_and_nothing_is_read_for_it(source, target):
    first = copy(source, target)
    before = target.bucket.objects
    recording = RecordingTransport(MemoryTransport(source.bucket))
    again = copy(source, target, place=source.reach(recording))
    assert [(one.copy, one.is_new) for one in again] == [(one.copy, False) for one in first]
    assert target.bucket.objects == before
    assert not [one for one in recording.operations if one.name.startswith("data/")]


def test_a_snapshot_that_came_from_there_is_not_copied_back(source, target):
    copy(source, target)
    before = source.bucket.objects
    assert not any(one.is_new for one in copy(target, source))
    assert source.bucket.objects == before


def test_a_snapshot_with_other_tags_is_another(source, target):
    copy(source, target)
    retag(source.place, snapshots(source)[0], ["new"])
    done = copy(source, target)
    assert sorted(one.is_new for one in done) == [False, True]
    assert len(snapshots(target)) == 3


def test_only_what_the_target_lacks_is_sent(source, target):
    target.pack(b"a", b"c")
    copy(source, target)
    index = target.place.load_index()
    for content in (b"a", b"b", b"c"):
        assert len(index.locations(BlobKind.DATA, id_of(content))) == 1


def test_what_a_killed_copy_left_is_used(source, target):
    copy(source, target)
    for name in target.names("snapshots/"):
        del target.bucket.stored[name]
    before = target.names("data/")
    assert all(one.is_new for one in copy(source, target))
    assert target.names("data/") == before


def test_snapshots_appear_as_soon_as_much_is_there(source, target, monkeypatch):
    monkeypatch.setattr(copying, "_PUBLISHED_AFTER_BYTES", 1)
    recording = RecordingTransport(MemoryTransport(target.bucket))
    target.place = target.reach(recording)
    copy(source, target)
    puts = [one.name.partition("/")[0] for one in recording.operations if one.verb == "put"]
    assert puts.index("snapshots") < len(puts) - 1 - puts[::-1].index("data")


def test_blobs_that_were_never_compressed_are(make_by_hand, target):
    source = make_by_hand(version=1)
    content = b"again and again " * 100
    source.pack(content, is_compressed=False)
    source.snapshot(source.tree({"x": [content]}, is_compressed=False))
    copy(source, target)
    [location] = target.place.load_index().locations(BlobKind.DATA, id_of(content))
    assert (location.uncompressed, location.length < 200) == (len(content), True)
    assert blobs(target) == blobs(source)


def test_trees_of_others_are_copied_as_they_are(source, target):
    tree = b'{ "nodes" :[{"name":"x","type":"file","content":[],"own":{"a":1}} ], "more": null}'
    source.pack(tree, kind=BlobKind.TREE)
    source.snapshot(id_of(tree))
    copy(source, target)
    assert blobs(target)[BlobKind.TREE, id_of(tree)] == tree


def test_a_damaged_copy_of_a_blob_is_passed_over(source, target):
    name = pack_name(source.pack(b"d", b"e"))
    source.pack(b"d")
    source.snapshot(source.tree({"d": [b"d", b"e"]}))
    data = source.bucket.stored[name].data
    source.bucket.store(name, bytes([data[0] ^ 1]) + data[1:], replace=True)
    copy(source, target)
    assert blobs(target)[BlobKind.DATA, id_of(b"d")] == b"d"


def test_a_snapshot_that_lost_something_is_not_copied_and_those_before_it_are(
    source, target, monkeypatch
):
    monkeypatch.setattr(copying, "_PUBLISHED_AFTER_BYTES", 1)
    name = pack_name(source.pack(b"d"))
    lost = source.snapshot(source.tree({"d": [b"d"]}))
    del source.bucket.stored[name]
    with pytest.raises(DamagedRepository, match=id_of(b"d").hex()):
        copy(source, target)
    assert len(snapshots(target)) == 2
    assert lost not in {one.original_id for one in snapshots(target)}


def test_nothing_is_copied_into_a_repository_that_is_only_read(source, make_by_hand):
    with pytest.raises(InputError, match="into a new one"):
        copy(source, make_by_hand(version=1))


def test_a_copy_is_refused_beside_a_prune(source, target):
    for by_hand in (source, target):
        with by_hand.place.hold(is_exclusive=True), pytest.raises(RepositoryLocked):
            copy(source, target)


@pytest.mark.interop
def test_restic_takes_our_copies_for_its_own(source, target, tmp_path, restic_at):
    source.write_out(tmp_path / "source")
    [first, *_] = snapshots(source)
    copy_snapshots(source.place, target.place, [first])
    target.write_out(tmp_path / "target")
    said = restic_at(tmp_path / "source").run("copy", "--repo2", tmp_path / "target")
    assert said.count("skipping") == 1
    restic = restic_at(tmp_path / "target")
    restic.run("check", "--read-data")
    assert len(restic.snapshots()) == 2
