"""Nodes of the model tell what the tree told, and what no system can hold is refused."""

import pytest
from msgspec.structs import replace

from backapp_core.model.entries import EntryKind
from backapp_plugins.archivers.restic.format.nodes import node_of
from backapp_plugins.archivers.restic.format.trees import ExtendedAttribute, TreeBroken, TreeNode

FILE = TreeNode(
    name="a",
    type="file",
    mode=8389101,
    mtime="2020-09-13T14:26:40.123456789+02:00",
    atime="2020-09-13T14:26:40.123456789+02:00",
    ctime="1969-12-31T23:59:59.5Z",
    uid=1,
    gid=2,
    user="me",
    group="us",
    inode=2**64 - 1,
    device_id=4,
    size=5,
    links=2,
    content=["ab" * 32],
)


def test_file_tells_everything():
    node = node_of(b"/x/a", FILE)
    assert node.path == b"/x/a"
    assert node.kind is EntryKind.FILE
    assert (node.mode, node.uid, node.gid, node.user, node.group) == (0o4755, 1, 2, "me", "us")
    assert (node.mtime_ns, node.ctime_ns) == (1_600_000_000_123_456_789, -500_000_000)
    assert (node.inode, node.device, node.size_bytes, node.links) == (2**64 - 1, 4, 5, 2)
    assert node.is_hard_linked


def test_every_kind_is_called_as_restic_calls_it():
    kinds = {kind.value: kind for kind in EntryKind}
    assert set(kinds) == {"file", "dir", "symlink", "fifo", "socket", "chardev", "dev"}
    for name, kind in kinds.items():
        node = node_of(b"/a", replace(FILE, type=name, linktarget="t", device=7))
        assert node.kind is kind
        assert node.target == (b"t" if kind is EntryKind.SYMLINK else b"")
        assert node.rdev == (7 if kind.is_device else 0)
        assert node.size_bytes == (5 if kind is EntryKind.FILE else 0)


@pytest.mark.parametrize("kind", ["irregular", "", "File", "door\x1b"])
def test_unknown_type_is_named(kind):
    with pytest.raises(TreeBroken, match=r"'/a' is of the unknown type '.*'") as caught:
        node_of(b"/a", replace(FILE, type=kind))
    assert "\x1b" not in str(caught.value)


def test_what_others_leave_out_is_nothing():
    node = node_of(b"/a", TreeNode("a", "file"))
    assert (node.uid, node.gid, node.mtime_ns, node.ctime_ns, node.links) == (0, 0, 0, 0, 1)
    assert not node.is_hard_linked


def test_raw_target_counts():
    link = TreeNode("a", "symlink", linktarget="\ufffd", linktarget_raw=b"\xff")
    assert node_of(b"/a", link).target == b"\xff"


def test_attributes_come_in_byte_order_of_their_names():
    attributes = [ExtendedAttribute("user.b", None), ExtendedAttribute("user.a", b"\0")]
    node = node_of(b"/a", replace(FILE, extended_attributes=attributes))
    assert node.xattrs == ((b"user.a", b"\0"), (b"user.b", b""))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mtime": "yesterday"}, "changed at no time"),
        ({"ctime": "yesterday"}, "changed at no time"),
        ({"size": 2**63}, "large"),
        ({"device": 2**63}, "large"),
        ({"type": "symlink"}, "points nowhere"),
        ({"type": "symlink", "linktarget": "a\0b"}, "points nowhere"),
        ({"extended_attributes": [ExtendedAttribute("", b"")]}, "without a name"),
        ({"extended_attributes": [ExtendedAttribute("a\0", b"")]}, "without a name"),
    ],
)
def test_what_cannot_be_is_refused(change, reason):
    with pytest.raises(TreeBroken, match=reason):
        node_of(b"/a", replace(FILE, **change))
