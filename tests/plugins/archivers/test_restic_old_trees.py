"""What is found in old trees, whatever their size, and who wrote them."""

import msgspec
import pytest

from backapp_plugins.archivers.restic.backup import old_trees
from backapp_plugins.archivers.restic.backup.old_trees import OldNodes, entries_as_written
from backapp_plugins.archivers.restic.format.trees import TreeBroken

MANY = 12_000


def _node(number: int, **others: object) -> dict[str, object]:
    kind = "dir" if number % 100 == 0 else "file"
    return {"name": f"entry-{number:06}", "type": kind, "size": number, "user": "x" * 80} | others


def _tree(*nodes: dict[str, object]) -> bytes:
    return msgspec.json.encode({"nodes": nodes})


@pytest.fixture(autouse=True)
def smaller_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_trees, "_LARGE_TREE_BYTES", 1 << 20)


@pytest.fixture(scope="module")
def large() -> bytes:
    data = _tree(*map(_node, range(MANY)))
    assert len(data) > 1 << 20
    return data


def test_every_node_of_a_large_tree_is_found_in_any_order(large):
    nodes = OldNodes(large)
    for number in (*range(0, MANY, 7), *range(MANY - 1, 0, -1111)):
        found = nodes.get(b"entry-%06d" % number)
        assert found is not None
        assert found.size == number
    for name in (b"", b"a", b"entry-0000005", b"zzz"):
        assert nodes.get(name) is None


def test_what_is_not_in_order_is_found_or_not_but_never_mistaken():
    nodes = OldNodes(_tree(*(_node(number * 7919 % MANY) for number in range(MANY))))
    for number in range(0, MANY, 13):
        found = nodes.get(b"entry-%06d" % number)
        assert found is None or found.size == number


def test_a_node_that_cannot_be_read_is_not_there(large):
    nodes = OldNodes(_tree(*map(_node, range(MANY)), _node(MANY, size="much")))
    assert nodes.get(b"entry-%06d" % MANY) is None
    assert nodes.get(b"entry-%06d" % (MANY - 1)) is not None


@pytest.mark.parametrize("count", [3, MANY])
def test_what_is_no_tree_is_refused(count):
    data = _tree(*map(_node, range(count)))[:-20]
    with pytest.raises(TreeBroken):
        OldNodes(data)
    with pytest.raises(TreeBroken):
        list(entries_as_written(data))


def test_entries_are_all_but_the_directories_as_they_were_written(large):
    entries = list(entries_as_written(large))
    assert len(entries) == MANY - MANY // 100
    assert entries[0] == (b"entry-000001", msgspec.json.encode(_node(1)))
