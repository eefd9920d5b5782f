"""A walk follows the order of a scan, reads trees together, and ends, whatever the trees say."""

import itertools

import pytest

from backapp_core.errors import DamagedRepository
from backapp_core.ports.targets import Everything
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import DamagingTransport, RecordingTransport, flip_bit
from backapp_plugins.archivers.restic.format import trees
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.trees import TreeNode, encode_node, join_nodes
from backapp_plugins.archivers.restic.reading import walking
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader
from backapp_plugins.archivers.restic.reading.walking import find, nodes


def reader(by_hand, place=None) -> TreeReader:
    place = place or by_hand.place
    return TreeReader(place, place.load_index())


def paths(by_hand, tree: bytes, place=None) -> list[bytes]:
    return [node.path for node in nodes(reader(by_hand, place), tree, Everything())]


def raw_tree(by_hand, *entries: TreeNode) -> bytes:
    tree = join_nodes(map(encode_node, entries))
    by_hand.pack(tree, kind=BlobKind.TREE)
    return id_of(tree)


def folder(name: str, tree: bytes) -> TreeNode:
    return TreeNode(name=name, type="dir", content=None, subtree=tree.hex())


def file(name: str) -> TreeNode:
    return TreeNode(name=name, type="file", content=[])


def test_files_come_before_directories_and_both_in_byte_order(by_hand):
    inner = by_hand.tree({"x": ()}, {"empty": by_hand.tree({})})
    tree = by_hand.tree({"z": (), "b": ()}, {"a": inner, "a.b": inner, "c": inner})
    below = [b"", b"/x", b"/empty"]
    expected = [top + rest for top in (b"/a", b"/a.b", b"/c") for rest in below]
    assert paths(by_hand, tree) == [b"/b", b"/z", *expected]


def test_a_large_directory_is_walked_as_a_small_one_is(by_hand, monkeypatch):
    inner = by_hand.tree({"x": ()})
    tree = by_hand.tree({f"f{number:03}": () for number in range(300)}, {"d": inner, "g": inner})
    whole = paths(by_hand, tree)
    for module in (walking, trees):
        monkeypatch.setattr(module, "WHOLE_TREE_BYTES", 10)
    assert paths(by_hand, tree) == whole
    unsorted = raw_tree(by_hand, file("b"), file("a"))
    with pytest.raises(DamagedRepository, match="where it belongs"):
        paths(by_hand, unsorted)


def test_of_entries_with_one_name_the_last_counts_and_order_is_mended(by_hand):
    last = TreeNode(name="b", type="file", content=[], mode=0o600)
    tree = raw_tree(by_hand, file("c"), file("b"), file("a"), last)
    found = list(nodes(reader(by_hand), tree, Everything()))
    assert [node.path for node in found] == [b"/a", b"/b", b"/c"]
    assert found[1].mode == 0o600


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\\x00b", "bad\\escape"])
def test_names_that_are_none_are_refused_and_named(by_hand, name):
    tree = raw_tree(by_hand, TreeNode(name=name, type="file", content=[]), file("z"))
    with pytest.raises(DamagedRepository, match="at '/'"):
        paths(by_hand, tree)
    faults: list[bytes] = []
    walk = walking.Walk(
        reader(by_hand), tree, Everything(), lambda path, error: faults.append(path)
    )
    assert [node.path for node, _ in walk.steps()] == [b"/z"]
    assert faults == [b"/"]


@pytest.mark.parametrize(
    "entry",
    [
        TreeNode(name="odd", type="irregular"),
        TreeNode(name="odd", type="dir", content=None),
        TreeNode(name="odd", type="dir", content=None, subtree="no id"),
        TreeNode(name="odd", type="symlink", content=None),
        TreeNode(name="odd", type="file", content=[], mtime="yesterday"),
    ],
)
def test_entries_that_can_be_none_are_refused_and_named(by_hand, entry):
    tree = raw_tree(by_hand, entry)
    with pytest.raises(DamagedRepository, match="odd"):
        paths(by_hand, tree)


@pytest.mark.parametrize(("width", "depth"), [(2, 60), (10, 40), (1000, 5)])
def test_a_few_trees_that_stand_for_too_many_entries_are_refused_soon(by_hand, width, depth):
    tree = by_hand.tree({"leaf": ()})
    for _ in range(depth):
        tree = by_hand.tree({}, {f"{number:04}": tree for number in range(width)})
    met = itertools.islice(nodes(reader(by_hand), tree, Everything()), 100_000)
    with pytest.raises(DamagedRepository, match="entries are below it"):
        list(met)


def test_trees_deeper_than_anything_are_refused(by_hand, monkeypatch):
    monkeypatch.setattr(walking, "MOST_LEVELS", 50)
    tree = by_hand.tree({"leaf": ()})
    for _ in range(60):
        tree = by_hand.tree({}, {"d": tree})
    with pytest.raises(DamagedRepository, match="deeper"):
        paths(by_hand, tree)


def test_a_tree_in_itself_is_found_when_entries_are_counted():
    from backapp_plugins.archivers.restic.reading.expansion import require_countable

    inner, outer = b"i" * 32, b"o" * 32
    stored = {
        outer: join_nodes([encode_node(folder("in", inner))]),
        inner: join_nodes([encode_node(folder("out", outer))]),
    }
    with pytest.raises(trees.TreeBroken, match="in itself"):
        require_countable(stored.__getitem__, outer)


def test_a_path_is_found_without_a_walk(by_hand):
    inner = by_hand.tree({"file": ()})
    tree = by_hand.tree({"top": ()}, {"in": inner})
    found = find(reader(by_hand), tree, b"/in/file")
    assert found is not None
    assert found.name == "file"
    for path in (b"/in/none", b"/top/none", b"/none/file"):
        assert find(reader(by_hand), tree, path) is None


def _many_folders(by_hand) -> bytes:
    folders = {f"d{number}": join_nodes([encode_node(file(f"f{number}"))]) for number in range(50)}
    by_hand.pack(*folders.values(), kind=BlobKind.TREE)
    return by_hand.tree({}, {name: id_of(tree) for name, tree in folders.items()})


def test_a_distant_repository_is_not_asked_for_each_tree_and_not_twice(by_hand, tmp_path):
    tree = _many_folders(by_hand)
    whole = paths(by_hand, tree)
    for cache, asked in (("fresh", 2), ("fresh", 0)):
        transport = RecordingTransport(MemoryTransport(by_hand.bucket))
        place = by_hand.reach(transport, cache_folder=tmp_path / cache)
        assert paths(by_hand, tree, place) == whole
        assert sum(one.name.startswith("data/") for one in transport.operations) == asked


def test_a_cache_that_was_altered_or_cannot_be_written_only_costs_time(by_hand):
    tree = _many_folders(by_hand)
    whole = paths(by_hand, tree)
    kept = by_hand.place.cache_folder / "packs"
    packs = list(kept.iterdir())
    assert packs
    for damage in (lambda data: flip_bit(data, 300), lambda data: data[:40], lambda data: b""):
        for pack in packs:
            pack.write_bytes(damage(pack.read_bytes() or b"x"))
        place = by_hand.reach(MemoryTransport(by_hand.bucket))
        assert paths(by_hand, tree, place) == whole
    for pack in packs:
        pack.unlink()
    kept.rmdir()
    kept.write_bytes(b"no folder")
    assert paths(by_hand, tree, by_hand.reach(MemoryTransport(by_hand.bucket))) == whole


def test_packs_that_the_repository_has_no_more_leave_the_cache(by_hand):
    tree = _many_folders(by_hand)
    paths(by_hand, tree)
    old = by_hand.place.cache_folder / "packs" / ("ab" * 32)
    old.write_bytes(b"of a pack that was pruned")
    paths(by_hand, tree)
    assert not old.exists()


def test_trees_that_arrive_wrong_once_are_read_again(by_hand):
    tree = _many_folders(by_hand)
    lies = itertools.count()

    def damage(name: str, data: bytes) -> bytes:
        return flip_bit(data, 900) if name.startswith("data/") and next(lies) == 0 else data

    place = by_hand.reach(DamagingTransport(MemoryTransport(by_hand.bucket), damage))
    assert len(paths(by_hand, tree, place)) == 100


def test_a_tree_that_is_always_wrong_is_named(by_hand):
    tree = by_hand.tree({"file": ()})
    place = by_hand.reach(
        DamagingTransport(
            MemoryTransport(by_hand.bucket),
            lambda name, data: flip_bit(data, 200) if name.startswith("data/") else data,
        )
    )
    name = pack_name(place.load_index().locations(BlobKind.TREE, tree)[0].pack_id)
    with pytest.raises(DamagedRepository, match=f"{tree.hex()} is lost: in {name}"):
        paths(by_hand, tree, place)
