"""Nodes that were put away come back in order, and make the tree that they would have made."""

import os
import random

from hypothesis import given
from hypothesis import strategies as st

from backapp_plugins.archivers.restic import listing
from backapp_plugins.archivers.restic.backup import examining, node_batches, pending
from backapp_plugins.archivers.restic.backup.node_batches import NodeBatches
from backapp_plugins.archivers.restic.format import trees
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.trees import decode_tree, join_in_pieces, join_nodes

_NAMES = st.lists(st.binary(min_size=1, max_size=4), unique=True, max_size=40)


@given(_NAMES, st.lists(st.integers(1, 7), min_size=40, max_size=40), st.randoms())
def test_all_come_back_in_the_order_of_their_names(names, sizes, chance):
    nodes = [(name, b"node of " + name) for name in names]
    chance.shuffle(nodes)
    batches, others = NodeBatches(), []
    while nodes:
        size = sizes.pop()
        taken, nodes = nodes[:size], nodes[size:]
        if chance.random() < 0.3:
            others += taken
        else:
            batches.put_away(taken)
    for _ in range(2):  # a tree is made twice: to hash it and to store it
        found = list(batches.merged(sorted(others)))
        assert found == sorted((name, b"node of " + name) for name in names)


@given(st.lists(st.binary(max_size=3), max_size=30), st.integers(1, 20))
def test_a_tree_in_pieces_is_the_same_tree(nodes, piece_bytes):
    usual = trees._PIECE_BYTES
    trees._PIECE_BYTES = piece_bytes
    try:
        assert b"".join(join_in_pieces(nodes)) == join_nodes(nodes)
    finally:
        trees._PIECE_BYTES = usual


def test_a_large_directory_has_the_tree_of_a_small_one(restic_workbench, monkeypatch):
    found = []
    source = None
    for most in (node_batches.BATCH_NODES, 10):
        for module in (pending, examining):
            monkeypatch.setattr(module, "BATCH_NODES", most)
        bench = restic_workbench(source=source)
        source = bench.source
        if not found:
            for number in random.Random(1).sample(range(3000), 1500):
                (source / f"{number}").write_bytes(b"%d" % number)
            for number in range(0, 3000, 100):
                (source / f"{number} folder").mkdir()
        snapshot, facts = bench.back_up(), bench.facts()
        assert bench.differences(snapshot, facts) == []
        assert bench.repository.check(read_data=True).findings == ()
        found.append(_subtree(bench, snapshot))
    assert found[0] == found[1]


def _subtree(bench, snapshot) -> bytes:
    place = bench.repository._place
    index = place.load_index()
    tree = listing.find_record(place, snapshot.id).tree
    for part in bench.source.parts[1:]:
        nodes = decode_tree(place.read_blob(index, BlobKind.TREE, tree))
        (tree,) = (node.subtree_id() for node in nodes if node.raw_name == os.fsencode(part))
    return tree
