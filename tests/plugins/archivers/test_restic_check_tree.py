"""The quick look at a tree says what the thorough one says."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from backapp_plugins.archivers.restic.check import tree as check_tree
from backapp_plugins.archivers.restic.format.go_json import name_text
from backapp_plugins.archivers.restic.format.trees import TreeNode, encode_node, join_nodes

IDS = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.one_of(
    st.sampled_from(
        [b"", b".", b"..", b".a", b"...", b"a", b"a b", b"\xff", b"a\\b", "ä".encode()]
    ),
    st.text(min_size=1, max_size=5).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(min_size=1, max_size=4),
)
TIMES = st.sampled_from(
    [
        "",
        "2026-05-09T07:30:29.186192512Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999+05:21",
        "2026-05-09",
    ]
)
NODES = st.builds(
    TreeNode,
    name=NAMES.map(name_text),
    type=st.sampled_from(["file", "file", "file", "dir", "symlink", "fifo", "chardev", "door"]),
    mode=st.integers(0, 2**32 - 1),
    mtime=TIMES,
    ctime=TIMES,
    size=st.one_of(st.integers(0, 10**6), st.just(2**63)),
    linktarget=st.sampled_from(["", "target", "\0"]),
    content=st.one_of(st.none(), st.lists(IDS, max_size=3), st.just(["00" * 31 + "0x"])),
    subtree=st.one_of(st.none(), IDS, st.just("00")),
)


@given(st.lists(NODES, max_size=8), st.booleans())
def test_a_quick_look_finds_what_a_thorough_one_finds(nodes, is_sorted) -> None:
    if is_sorted:
        nodes.sort(key=lambda node: node.raw_name)
    data = join_nodes(map(encode_node, nodes))
    looked, thorough = check_tree.check_tree(data), check_tree._check_slowly(data)
    for part in check_tree.CheckedTree.__slots__:
        assert getattr(looked, part) == getattr(thorough, part)


def test_what_is_plain_is_not_looked_at_twice(monkeypatch) -> None:
    monkeypatch.delattr(check_tree, "_check_slowly")
    nodes = [
        TreeNode(name="a", type="file", size=3, content=["00" * 32]),
        TreeNode(name="b", type="dir", content=None, subtree="11" * 32),
        TreeNode(name="c é", type="symlink", content=None, linktarget="a"),
        TreeNode(name="d", type="file", mtime="2026-05-09T07:30:29.186192512+02:00", content=[]),
    ]
    looked = check_tree.check_tree(join_nodes(map(encode_node, nodes)))
    assert looked.subtrees == b"\x11" * 32
    assert looked.contents == bytes(32)
    assert (looked.names, looked.counts, looked.sizes) == (["a", "d"], [1, 0], [3, 0])
    assert looked.faults == []


def test_of_many_faults_some_are_told_and_none_at_length() -> None:
    nodes = [TreeNode(name=f"{number:04}/" + "x" * 10_000, type="file") for number in range(100)]
    looked = check_tree.check_tree(join_nodes(map(encode_node, nodes)))
    assert len(looked.faults) == check_tree.MOST_FAULTS
    assert max(map(len, looked.faults)) <= 500


@given(st.binary(max_size=50))
def test_whatever_is_no_tree_is_a_fault(data) -> None:
    try:
        may_be_a_tree = "nodes" in msgspec.json.decode(data)
    except (ValueError, TypeError):
        may_be_a_tree = False
    assert may_be_a_tree or check_tree.check_tree(data).faults
