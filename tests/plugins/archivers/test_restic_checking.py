"""What a check finds beyond damaged bytes, and what it says of it."""

import os
import threading

import pytest

from backapp_core.errors import AccessRefused, RepositoryLocked, RunCancelled
from backapp_core.events import LogLine, Progress
from backapp_core.model.subsets import DataSubset
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase, RecordingTransport
from backapp_plugins.archivers.restic.access.keys import add_key
from backapp_plugins.archivers.restic.check import paths as check_paths
from backapp_plugins.archivers.restic.check import trees as check_trees
from backapp_plugins.archivers.restic.check.checking import Check
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.packs import PackEntry, encode_header, encode_trailer
from backapp_plugins.archivers.restic.format.trees import TreeNode, encode_node, join_nodes
from backapp_plugins.archivers.restic.index.files import MarkedPack


def check(by_hand, place=None, *, read_data=False):
    return Check(place or by_hand.place, read_data=read_data).run()


def errors(by_hand, place=None, *, read_data=False):
    return [one for one in check(by_hand, place, read_data=read_data).findings if one.is_error]


def notes(by_hand, **options):
    return [one for one in check(by_hand, **options).findings if not one.is_error]


def entries_of(by_hand, pack_id: bytes) -> list[PackEntry]:
    """Return what the index says of a pack."""
    columns = by_hand.place.load_index().table().columns
    (number,) = [at for at, one in enumerate(columns.pack_id.tolist()) if one == pack_id]
    rows = sorted((columns.pack_number == number).nonzero()[0], key=lambda row: columns.offset[row])
    return [
        PackEntry(
            BlobKind(int(row >= columns.tree_start)),
            bytes(columns.blob_id[row]),
            int(columns.offset[row]),
            int(columns.length[row]),
            int(columns.uncompressed[row]),
        )
        for row in rows
    ]


def relist(by_hand, pack_id: bytes, entries) -> None:
    """Let the index say something else of a pack."""
    table = by_hand.place.load_index().table()
    packs = {bytes(one): entries_of(by_hand, bytes(one)) for one in table.columns.pack_id}
    for name in by_hand.names("index/"):
        by_hand.place.transport.delete(name)
    by_hand.index(*{**packs, pack_id: entries}.items())


def store_pack(by_hand, *blobs: tuple[BlobKind, bytes]) -> tuple[bytes, list[PackEntry]]:
    """Store a pack of these blobs, and return what an index would say of it."""
    codec, body, entries = by_hand.place.codec, b"", []
    for kind, content in blobs:
        sealed = codec.encode(content, id_of(content))
        entries.append(PackEntry(kind, id_of(content), len(body), len(sealed), len(content)))
        body += sealed
    header = codec.sealer.seal(encode_header(entries))
    body += header + encode_trailer(header)
    by_hand.place.store(pack_name(id_of(body)), [body], len(body))
    return id_of(body), entries


def tree_of(by_hand, *nodes: TreeNode) -> bytes:
    """Store a tree of these nodes as they are, and return its id."""
    tree = join_nodes(map(encode_node, nodes))
    by_hand.pack(tree, kind=BlobKind.TREE)
    return id_of(tree)


def file_node(name: str, *parts: bytes, **changes) -> TreeNode:
    size = sum(map(len, parts))
    content = [id_of(part).hex() for part in parts]
    return TreeNode(**{"name": name, "type": "file", "size": size, "content": content, **changes})


@pytest.fixture
def keyed(filled, cheap_keys):
    """Add a key to a repository, and return its name."""
    place = filled.place
    key_id = add_key(place.transport, place.key.master, "secret", place.surroundings)
    return f"keys/{key_id.hex()}"


@pytest.fixture
def filled(by_hand):
    """A repository of two snapshots that share a folder."""
    by_hand.packs = {
        "first": by_hand.pack(b"one", b"two"),
        "second": by_hand.pack(b"three", b"four" * 1000),
    }
    shared = by_hand.tree({"a": [b"one", b"two"], "b": [b"three"]})
    by_hand.old = by_hand.snapshot(by_hand.tree({"x": [b"two"]}, {"shared": shared}))
    by_hand.new = by_hand.snapshot(by_hand.tree({"y": [b"four" * 1000]}, {"shared": shared}))
    return by_hand


def test_a_whole_repository_is_clean_and_counted(filled):
    report = check(filled, read_data=True)
    packs = [data for name, data in filled.bucket.objects.items() if name.startswith("data/")]
    assert report.findings == ()
    assert report.snapshots == 2
    assert report.objects == len(filled.bucket.objects) + 1  # the description is not kept by hand
    assert report.read_bytes == sum(map(len, packs))
    assert check(filled).read_bytes == 0


def test_an_empty_repository_is_clean(by_hand):
    assert check(by_hand, read_data=True).findings == ()


def test_a_missing_pack_is_named_with_all_that_suffers(filled):
    name = pack_name(filled.packs["first"])
    filled.place.transport.delete(name)
    (error,) = errors(filled)
    assert error.object_name == name
    assert "is missing; 2 blobs that snapshots need" in error.message
    assert error.snapshot_ids == (filled.new, filled.old)
    assert error.paths == (b"/shared/a", b"/x")


def test_only_those_snapshots_are_named_that_need_what_is_lost(filled):
    filled.place.transport.delete(pack_name(filled.packs["second"]))
    (error,) = errors(filled)
    assert error.snapshot_ids == (filled.new, filled.old)
    assert error.paths == (b"/y", b"/shared/b")
    lost = filled.pack(b"lost")
    snapshot_id = filled.snapshot(filled.tree({"z": [b"lost"]}))
    filled.place.transport.delete(pack_name(lost))
    error = next(one for one in errors(filled) if one.object_name == pack_name(lost))
    assert (error.snapshot_ids, error.paths) == ((snapshot_id,), (b"/z",))


def test_a_missing_pack_that_nothing_needs_is_named_alone(filled):
    name = pack_name(filled.pack(b"unused"))
    filled.place.transport.delete(name)
    (error,) = errors(filled)
    assert (error.object_name, error.message) == (name, f"{name} is missing")
    assert error.snapshot_ids == error.paths == ()


def test_nothing_is_lost_of_which_another_pack_has_a_copy(filled):
    filled.pack(b"two", b"one")
    name = pack_name(filled.packs["first"])
    filled.place.transport.delete(name)
    (error,) = errors(filled)
    assert error.message == f"{name} is missing"
    assert error.snapshot_ids == ()


def test_a_listing_that_lags_behind_is_no_damage(filled):
    class Lagging(MemoryTransport):
        def list(self, prefix=""):
            return (one for one in super().list(prefix) if not one.name.startswith("data/"))

    assert check(filled, filled.reach(Lagging(filled.bucket)), read_data=True).findings == ()


def test_a_pack_that_no_index_object_names_is_noted(filled):
    pack_id = filled.pack(b"orphan", is_listed=False)
    (note,) = check(filled, read_data=True).findings
    assert (note.is_error, note.object_name) == (False, pack_name(pack_id))


def test_a_pack_that_two_index_objects_name_is_noted(filled):
    pack_id = filled.packs["first"]
    filled.index((pack_id, entries_of(filled, pack_id)), (filled.pack(b"other"), []))
    (note,) = [one for one in notes(filled) if one.object_name == pack_name(pack_id)]
    assert "more than once" in note.message
    assert errors(filled, read_data=True) == []


def test_a_pack_of_trees_and_data_is_noted(filled):
    pack_id, entries = store_pack(
        filled, (BlobKind.DATA, b"mixed"), (BlobKind.TREE, b'{"nodes":[]}\n')
    )
    filled.index((pack_id, entries))
    (note,) = check(filled, read_data=True).findings
    assert (note.is_error, note.object_name) == (False, pack_name(pack_id))
    assert "trees and data" in note.message


def test_rustics_marked_packs_may_be_gone(filled):
    pack_id = filled.pack(b"marked", is_listed=False)
    entry = PackEntry(BlobKind.DATA, id_of(b"marked"), 0, 50, 6)
    filled.index(marked=[MarkedPack(pack_id, [entry], filled.clock.now())])
    filled.place.transport.delete(pack_name(pack_id))
    assert errors(filled, read_data=True) == []


def test_what_stands_in_the_index_under_the_other_kind_is_not_there(filled):
    pack_id = filled.packs["first"]
    swapped = [entry._replace(kind=BlobKind.TREE) for entry in entries_of(filled, pack_id)]
    relist(filled, pack_id, swapped)
    (error,) = errors(filled)
    assert "2 blobs that snapshots need are named by no index object" in error.message
    assert error.paths == (b"/shared/a", b"/x")
    assert len(errors(filled, read_data=True)) == 2  # the header says otherwise


def test_gaps_and_overlaps_in_the_index_are_named(filled):
    pack_id = filled.packs["first"]
    first, second = entries_of(filled, pack_id)
    for wrong, paths in (
        ([first, second._replace(offset=second.offset + 1)], (b"/shared/a", b"/x")),
        ([first, second._replace(offset=second.offset - 1)], (b"/shared/a", b"/x")),
        ([first._replace(offset=1), second], (b"/shared/a",)),
    ):
        relist(filled, pack_id, wrong)
        found = [one for one in errors(filled) if one.object_name == pack_name(pack_id)]
        assert "gaps or overlapping blobs, if index/" in found[0].message
        found = errors(filled, read_data=True)
        assert found[0].paths == paths
    relist(filled, pack_id, [first, second])
    assert check(filled, read_data=True).findings == ()


def test_an_index_that_names_too_much_or_too_little_of_a_pack_is_noticed_by_sizes(filled):
    pack_id = filled.packs["first"]
    first, second = entries_of(filled, pack_id)
    relist(filled, pack_id, [first])
    assert any("bytes and not" in one.message for one in errors(filled))
    relist(filled, pack_id, [first, second, second._replace(offset=second.offset + second.length)])
    assert any("bytes and not" in one.message for one in errors(filled))


@pytest.mark.parametrize("length", [(1 << 32) - 1, (1 << 27) + 1])
def test_a_blob_that_claims_to_be_huge_is_not_read(filled, length):
    pack_id = filled.packs["first"]
    first, second = entries_of(filled, pack_id)
    relist(filled, pack_id, [first, second._replace(uncompressed=length)])
    (error,) = errors(filled, read_data=True)
    assert error.object_name == pack_name(pack_id)
    assert "larger than any can be" in error.message
    assert error.paths == (b"/shared/a", b"/x")


def test_a_header_that_lists_other_blobs_than_the_index_is_noticed_with_all_data(filled):
    pack_id = filled.packs["first"]
    first, second = entries_of(filled, pack_id)
    relist(filled, pack_id, [first, second._replace(blob_id=id_of(b"else"))])
    assert all(one.object_name == "" for one in errors(filled))
    found = {one.object_name: one.message for one in errors(filled, read_data=True)}
    assert "lists other blobs in its header" in found[pack_name(pack_id)]


def test_a_blob_that_was_stored_damaged_is_noticed_with_all_data(filled):
    """Its pack is just as it was written: memory or a library had failed before."""
    codec = filled.place.codec
    sealed = codec.sealer.seal(b"no zstandard frame")
    entries = [PackEntry(BlobKind.DATA, id_of(b"meant"), 0, len(sealed), 5)]
    header = codec.sealer.seal(encode_header(entries))
    body = sealed + header + encode_trailer(header)
    filled.place.store(pack_name(id_of(body)), [body], len(body))
    filled.index((id_of(body), entries))
    filled.snapshot(filled.tree({"meant": [b"meant"]}))
    assert check(filled).findings == ()
    (error,) = errors(filled, read_data=True)
    assert error.object_name == pack_name(id_of(body))
    assert f"was stored damaged: blob {id_of(b'meant').hex()}" in error.message
    assert error.paths == (b"/meant",)


def test_blobs_that_are_not_compressed_are_verified_too(by_hand):
    raw = by_hand.pack(b"raw", b"", is_compressed=False)
    codec, entries = by_hand.place.codec, []
    sealed = [codec.sealer.seal(b"plain"), codec.encode(b"packed", id_of(b"packed"))]
    for content, part, size in ((b"plain", sealed[0], 0), (b"packed", sealed[1], 6)):
        offset = sum(entry.length for entry in entries)
        entries.append(PackEntry(BlobKind.DATA, id_of(content), offset, len(part), size))
    header = codec.sealer.seal(encode_header(entries))
    body = b"".join([*sealed, header, encode_trailer(header)])
    by_hand.place.store(pack_name(id_of(body)), [body], len(body))
    by_hand.index((id_of(body), entries))
    assert check(by_hand, read_data=True).findings == ()
    data = bytearray(by_hand.bucket.objects[pack_name(raw)])
    data[20] ^= 1
    by_hand.bucket.store(pack_name(raw), bytes(data), replace=True)
    assert [one.object_name for one in errors(by_hand, read_data=True)] == [pack_name(raw)]


MALFORMED = {
    "out of order": (
        [file_node("b"), file_node("a")],
        "'a' stands after 'b'",
    ),
    "twice": ([file_node("a"), file_node("a")], "'a' stands there twice"),
    "slash": ([file_node("a/b")], "'a/b' is no name for an entry"),
    "dots": ([file_node("..")], "'..' is no name for an entry"),
    "nothing": ([file_node("")], "'' is no name for an entry"),
    "NUL": ([file_node("a\0")], "is no name for an entry"),
    "unquoted": ([file_node('a"')], "quote"),
    "larger": ([file_node("a", b"one", size=4)], "'a' claims 4 bytes and has content of 3"),
    "smaller": ([file_node("a", b"one", size=2)], "'a' claims 2 bytes and has content of 3"),
    "empty": ([file_node("a", size=1)], "'a' claims 1 bytes and has content of 0"),
    "no content": ([TreeNode(name="a", type="file", content=None)], "without a list of what"),
    "no tree": ([TreeNode(name="a", type="dir", content=None)], "a directory without a tree"),
    "no type": ([TreeNode(name="a", type="door", content=None)], "of the unknown type 'door'"),
    "no target": ([TreeNode(name="a", type="symlink", content=None)], "points nowhere"),
    "no time": ([file_node("a", mtime="yesterday")], "'yesterday' is no time"),
    "no id": ([file_node("a", content=["0" * 63 + "x"])], "which is no id"),
    "short id": ([file_node("a", content=["00"])], "which is no id"),
}


@pytest.mark.parametrize(("nodes", "fault"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_tree_is_named_with_its_snapshot_and_path(filled, nodes, fault):
    wrong = tree_of(filled, *nodes)
    snapshot_id = filled.snapshot(filled.tree({}, {"wrong": wrong}))
    (error,) = errors(filled)
    assert fault in error.message
    assert f"holds the tree {wrong.hex()}" in error.message
    assert error.object_name.startswith("data/")
    assert error.snapshot_ids == (snapshot_id,)
    assert error.paths == (b"/wrong",)


def test_a_blob_that_is_no_tree_is_named_as_one(filled):
    for data in (b"", b"[]", b'{"nodes":[{"name":1}]}', b'{"nodes":' + b"[" * 100_000):
        filled.pack(data, kind=BlobKind.TREE, is_compressed=bool(data))
        filled.snapshot(filled.tree({}, {"wrong": id_of(data)}))
    found = errors(filled)
    assert len(found) == 4
    assert all("it is no tree" in one.message for one in found)
    assert all(one.paths == (b"/wrong",) for one in found)


def test_what_is_below_a_malformed_tree_is_checked_all_the_same(filled):
    lost = filled.pack(b"lost")
    below = filled.tree({"z": [b"lost"]})
    folder = TreeNode(name="folder", type="dir", content=None, subtree=below.hex())
    filled.snapshot(tree_of(filled, folder, file_node("a"), file_node("lost", b"lost")))
    filled.place.transport.delete(pack_name(lost))
    paths = {one.object_name: one.paths for one in errors(filled)}
    assert paths[pack_name(lost)] == (b"/lost", b"/folder/z")


def test_a_lost_tree_is_named_by_the_directory_that_is_lost(filled):
    lost = filled.tree({"a": [b"one"]})
    index = filled.place.load_index()
    (location,) = index.locations(BlobKind.TREE, lost)
    snapshot_id = filled.snapshot(filled.tree({"kept": [b"two"]}, {"lost": lost}))
    filled.place.transport.delete(pack_name(location.pack_id))
    (error,) = errors(filled)
    assert error.snapshot_ids == (snapshot_id,)
    assert error.paths == (b"/lost",)
    root = filled.tree({"other": [b"two"]})
    snapshot_id = filled.snapshot(root)
    (location,) = filled.place.load_index().locations(BlobKind.TREE, root)
    filled.place.transport.delete(pack_name(location.pack_id))
    error = next(one for one in errors(filled) if one.object_name == pack_name(location.pack_id))
    assert (error.snapshot_ids, error.paths) == ((snapshot_id,), (b"/",))


def test_a_tree_that_many_others_mention_again_and_again_is_read_once(by_hand):
    """Of forty levels that each mention the next one ten times, 10 to the 40th files are below."""
    by_hand.pack(b"one")
    tree = by_hand.tree({"a": [b"one"]})
    for _ in range(40):
        tree = by_hand.tree({}, {f"{number}": tree for number in range(10)})
    by_hand.snapshot(tree)
    transport = RecordingTransport(MemoryTransport(by_hand.bucket))
    assert check(by_hand, by_hand.reach(transport)).findings == ()
    packs = [one for one in transport.operations if one.name.startswith("data/")]
    assert len([one for one in packs if one.verb != "list"]) == 41


def test_paths_of_damage_are_listed_up_to_a_number(by_hand, monkeypatch):
    monkeypatch.setattr(check_paths, "_MOST_TREES", 50)
    monkeypatch.setattr(check_paths, "_MOST_PATHS", 20)
    lost = by_hand.pack(b"one")
    tree = by_hand.tree({"a": [b"one"], "b": [b"one"]})
    for _ in range(40):
        tree = by_hand.tree({}, {f"{number}": tree for number in range(10)})
    by_hand.snapshot(tree)
    by_hand.place.transport.delete(pack_name(lost))
    (error,) = errors(by_hand)
    assert len(error.paths) == 20
    assert error.paths[0] == b"/0" * 40 + b"/a"


def test_each_of_very_many_damaged_packs_is_named_with_what_suffers(by_hand):
    names = [f"{number:03}" for number in range(150)]
    packs = {name: by_hand.pack(name.encode()) for name in names}
    by_hand.snapshot(by_hand.tree({name: [name.encode()] for name in names}))
    for pack_id in packs.values():
        by_hand.place.transport.delete(pack_name(pack_id))
    paths = {one.object_name: one.paths for one in errors(by_hand)}
    assert paths == {pack_name(pack_id): (b"/" + name.encode(),) for name, pack_id in packs.items()}


def test_of_what_is_alike_no_more_is_listed_than_anybody_reads(by_hand, monkeypatch):
    monkeypatch.setattr("backapp_plugins.archivers.restic.check.findings._MOST_ALIKE", 3)
    for number in range(5):
        by_hand.pack(b"%d" % number, is_listed=False)
    *listed, more = check(by_hand).findings
    assert len(listed) == 3
    assert more.message == "2 more packs are named by no index object"


def test_a_tree_of_very_many_entries_is_checked_in_parts(by_hand, monkeypatch):
    monkeypatch.setattr("backapp_plugins.archivers.restic.check.tree.WHOLE_TREE_BYTES", 100)
    monkeypatch.setattr("backapp_plugins.archivers.restic.check.tree._AT_ONCE", 7)
    monkeypatch.setattr(check_trees, "_FILES_AT_ONCE", 11)
    by_hand.pack(b"one", b"two")
    files = {f"{number:03}": [b"one", b"two"][: number % 3] for number in range(100)}
    by_hand.snapshot(by_hand.tree(files))
    assert check(by_hand).findings == ()
    nodes = [file_node(name, *parts) for name, parts in files.items()]
    nodes[6], nodes[7] = nodes[7], nodes[6]  # where one part ends and the next begins
    by_hand.snapshot(tree_of(by_hand, *nodes))
    nodes = [file_node(name, *parts, size=7) for name, parts in files.items()]
    by_hand.snapshot(tree_of(by_hand, *nodes))
    order, sizes = errors(by_hand)
    if "claims" in order.message:
        order, sizes = sizes, order
    assert "'006' stands after '007'" in order.message
    assert sizes.message.count("claims 7 bytes") == 10


def test_a_share_of_the_data_is_read(filled):
    for _ in range(30):
        filled.pack(os.urandom(100))
    everything = check(filled, read_data=True).read_bytes
    parts = [
        check(filled, read_data=DataSubset(part=part, parts=3)).read_bytes for part in (1, 2, 3)
    ]
    assert sum(parts) == everything
    assert all(parts)
    assert 0 < check(filled, read_data=DataSubset(most_bytes=500)).read_bytes <= 500


def test_keys_are_looked_at(filled, keyed):
    assert check(filled).findings == ()
    filled.bucket.store(keyed, filled.bucket.objects[keyed] + b" ", replace=True)
    (error,) = errors(filled)
    assert error.object_name == keyed


def test_an_exclusive_lock_of_others_keeps_a_check_out(filled):
    other = filled.reach(MemoryTransport(filled.bucket))
    with other.hold(is_exclusive=True), pytest.raises(RepositoryLocked):
        check(filled)
    with other.hold(is_exclusive=False):
        assert check(filled).findings == ()


def test_what_cannot_be_written_to_can_be_checked(filled):
    def refuse(operation, phase):
        if operation.verb == "put" and phase is Phase.BEFORE:
            raise AccessRefused("it is read-only")

    transport = FaultyTransport(MemoryTransport(filled.bucket), refuse)
    assert check(filled, filled.reach(transport), read_data=True).findings == ()
    assert any("without a lock" in line.text for line in filled.recording.of(LogLine))


def test_an_index_object_that_is_kept_on_this_machine_is_read_all_the_same(filled):
    filled.place.load_index()
    (name, *_) = sorted(filled.names("index/"))
    filled.bucket.store(name, b"altered", replace=True)
    filled.place.load_index()  # which believes what is kept
    assert name in {one.object_name for one in errors(filled)}


def test_a_check_can_be_stopped_and_tells_how_far_it_is(filled):
    check(filled, read_data=True)
    told = filled.recording.of(Progress)[-1]
    assert (told.files_done, told.bytes_done) == (4, told.bytes_total)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(RunCancelled):
        check(filled, filled.reach(MemoryTransport(filled.bucket), cancel=cancel))


def test_no_thread_is_left_behind(filled):
    before = threading.active_count()
    check(filled, read_data=True)
    assert threading.active_count() == before


def test_a_pack_that_comes_damaged_once_is_said_and_no_damage(filled):
    struck = []

    class Lying(MemoryTransport):
        def get(self, name, **part):
            data = b"".join(super().get(name, **part))
            if name == pack_name(filled.packs["first"]) and not struck:
                struck.append(name)
                data = bytes([data[0] ^ 1]) + data[1:]
            return iter([data])

    assert check(filled, filled.reach(Lying(filled.bucket)), read_data=True).findings == ()
    assert struck
    (line,) = filled.recording.of(LogLine)
    assert "came damaged" in line.text
