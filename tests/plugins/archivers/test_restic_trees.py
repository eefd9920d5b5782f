"""Trees are read whoever wrote them, and nodes written as restic does."""

import hashlib
import json
import tracemalloc

import msgspec
import pytest

from backapp_plugins.archivers.restic.format import trees
from backapp_plugins.archivers.restic.format.trees import (
    ExtendedAttribute,
    TreeBroken,
    TreeNode,
    decode_tree,
    encode_node,
    is_safe_name,
    iter_tree,
    join_nodes,
)

ID = bytes(range(32))
FILE = (
    b'{"name":"a\\\\xffb \\u003c","type":"file","mode":420,"mtime":"2020-09-13T14:26:40Z",'
    b'"atime":"2020-09-13T14:26:40Z","ctime":"2020-09-13T14:26:40.5+02:00","uid":0,"gid":7,'
    b'"user":"root","inode":18446744073709551615,"device_id":65024,"size":14,"links":1,'
    b'"extended_attributes":[{"name":"user.a","value":"AQI="},{"name":"user.b","value":""}],'
    b'"content":["%b"]}' % ID.hex().encode()
)


@pytest.fixture(params=["whole", "piecewise"])
def read(request, monkeypatch):
    """Return `decode_tree`, or `iter_tree` where every tree counts as a large one."""
    if request.param == "whole":
        return decode_tree
    monkeypatch.setattr(trees, "WHOLE_TREE_BYTES", 0)
    return lambda data: list(iter_tree(data))


def test_empty_tree_has_the_id_that_restic_gives_it():
    assert hashlib.sha256(join_nodes([])).hexdigest() == (
        "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8"
    )


def test_node_is_written_as_it_was_read(read):
    (node,) = read(join_nodes([FILE]))
    assert encode_node(node) == FILE
    assert node.raw_name == b"a\xffb <"
    assert node.content_ids() == [ID]
    assert node.inode == 2**64 - 1
    assert node.extended_attributes == [
        ExtendedAttribute("user.a", b"\1\2"),
        ExtendedAttribute("user.b", b""),
    ]


def test_fields_have_the_order_of_restic():
    assert TreeNode.__struct_fields__ == (
        *("name", "type", "mode", "mtime", "atime", "ctime", "uid", "gid", "user", "group"),
        *("inode", "device_id", "size", "links", "linktarget", "linktarget_raw"),
        *("extended_attributes", "generic_attributes", "device", "content", "subtree", "error"),
    )


@pytest.mark.parametrize(
    "rest",
    [
        b',"uid":1,"gid":2,"content":null,"subtree":"%b"' % (b"ab" * 32),
        b',"linktarget":"\xc3\xa4","linktarget_raw":"/w==","content":null',
        b',"generic_attributes":{"windows.b":[1,{"x":2}],"windows.c":"y"},"device":9,"content":[]',
        b"",
    ],
)
def test_what_a_node_has_it_keeps(read, rest):
    node = b'{"name":"n","type":"x"%b}' % rest
    assert [encode_node(each) for each in read(join_nodes([node, node]))] == [node, node]


def test_nodes_written_otherwise_are_read(read):
    document = json.loads(join_nodes([FILE, FILE]))
    document = {"before": [{"nodes": 1}], **document, "after": None}
    document["nodes"][0] = dict(reversed(document["nodes"][0].items())) | {"new": {"name": "x"}}
    text = json.dumps(document, indent=3).encode()
    assert read(text) == decode_tree(join_nodes([FILE, FILE]))


@pytest.mark.parametrize("data", [b'{"nodes":null}', b'{"nodes":[]}', b' { "nodes" : [ ] } '])
def test_tree_without_nodes_is_empty(read, data):
    assert read(data) == []


def test_strings_that_only_go_reads_are_read_as_go_does(read):
    bad = b'{"name":"a\xff\xe2\x82","type":"symlink","linktarget":"\\ud800\\ud83d\\ude00"}'
    (node,) = read(join_nodes([bad]))
    assert node.name == "a\ufffd\ufffd\ufffd"
    assert node.linktarget == "\ufffd\U0001f600"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"nodes":[}',
        b'{"nodes":{}}',
        b'{"nodes":[1]}',
        b'{"nodes":[null]}',
        b'{"nodes":[{"type":"file"}]}',
        b'{"nodes":[{"name":"a"}]}',
        b'{"nodes":[{"name":"a","type":"file","size":-1}]}',
        b'{"nodes":[{"name":"a","type":"file","uid":4294967296}]}',
        b'{"nodes":[{"name":"a","type":"file","size":"1"}]}',
        b'{"nodes":[{"name":"a","type":"file","content":[1]}]}',
        b'{"nodes":[{"name":"a","type":"file"}]}{',
        b'{"nodes":[{"name":"a","type":"file"',
        b'{"nodes":[],"x":' + b"[" * 100_000,
        b'{"nodes":[],"x\xff":' + b"[" * 100_000,
        b'{"nodes":[{"name":"a","type":"b","x":' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_tree_is_refused(read, data):
    with pytest.raises(TreeBroken):
        read(data)


def test_nodes_before_a_broken_one_of_a_large_tree_are_found(monkeypatch):
    monkeypatch.setattr(trees, "WHOLE_TREE_BYTES", 0)
    nodes = iter_tree(join_nodes([FILE, b'{"name":7,"type":"file"}']))
    assert next(nodes).raw_name == b"a\xffb <"
    with pytest.raises(TreeBroken, match="name"):
        next(nodes)


def test_large_tree_is_not_made_into_nodes_at_once():
    count = 20_000
    data = join_nodes([FILE] * count)
    assert len(data) > trees.WHOLE_TREE_BYTES
    tracemalloc.start()
    try:
        found = sum(1 for _ in iter_tree(data))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == count
    assert peak_bytes < len(data) / 2


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "ab" * 31 + " a", "ab" * 33, "ab " * 32])
def test_what_is_no_id_is_refused(text):
    node = TreeNode("a", "dir", content=[text], subtree=text)
    with pytest.raises(TreeBroken, match="no id"):
        node.content_ids()
    with pytest.raises(TreeBroken, match="no id"):
        node.subtree_id()


def test_directory_has_a_tree():
    assert TreeNode("a", "dir", subtree=ID.hex()).subtree_id() == ID
    with pytest.raises(TreeBroken, match="without a tree"):
        TreeNode("a", "dir").subtree_id()


@pytest.mark.parametrize("content", [None, msgspec.UNSET, []])
def test_nothing_is_no_content(content):
    assert TreeNode("a", "file", content=content).content_ids() == []


def test_name_that_is_quoted_wrongly_is_refused():
    with pytest.raises(TreeBroken, match="name"):
        _ = TreeNode("\\q", "file").raw_name


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0"])
def test_name_that_leads_elsewhere_is_not_safe(name):
    assert not is_safe_name(name)


@pytest.mark.parametrize("name", [b"a", b"...", b"..x", b"\xff", b"a\nb", b" "])
def test_every_other_name_is_safe(name):
    assert is_safe_name(name)
