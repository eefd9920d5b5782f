"""Nodes are what restic writes of the same entry, as far as one can say without asking it."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.model.entries import Entry, EntryKind, format_of_kind
from backapp_plugins.archivers.restic.format.go_modes import go_mode, permissions
from backapp_plugins.archivers.restic.format.go_times import local_times
from backapp_plugins.archivers.restic.format.node_writer import NodeWriter, content_behind
from backapp_plugins.archivers.restic.format.nodes import node_of
from backapp_plugins.archivers.restic.format.trees import decode_tree, encode_node, join_nodes

ID = bytes(range(32))
OWNER = {"user": "me", "group": "us"}


def entry(mode: int = stat.S_IFREG | 0o644, name: bytes = b"a", **facts: int) -> Entry:
    fields = {
        "uid": 1,
        "gid": 2,
        "size_bytes": 5,
        "mtime_ns": 1_600_000_000_000_000_000,
        "ctime_ns": 1,
        "inode": 11,
        "device": 12,
        "links": 1,
        "rdev": 0,
        "allocated_bytes": 0,
    }
    return Entry(name, mode, **(fields | facts))


def read(node: bytes):
    (found,) = decode_tree(join_nodes([node]))
    return found


def head(kind: str, mode: int) -> str:
    time_text = local_times()
    mtime, ctime = time_text(1_600_000_000_000_000_000), time_text(1)
    return (
        f'{{"name":"a","type":"{kind}","mode":{mode},"mtime":"{mtime}","atime":"{mtime}",'
        f'"ctime":"{ctime}","uid":1,"gid":2,"user":"me","group":"us","inode":11,"device_id":12'
    )


def test_file_has_size_links_and_content():
    node = NodeWriter().file(entry(), **OWNER, content=[ID, ID], size_bytes=7)
    wanted = f'{head("file", 420)},"size":7,"links":1,"content":["{ID.hex()}","{ID.hex()}"]}}'
    assert node.decode() == wanted


def test_empty_file_has_an_empty_list():
    node = NodeWriter().file(entry(), **OWNER, content=[], size_bytes=0)
    assert node.decode() == f'{head("file", 420)},"links":1,"content":[]}}'


def test_directory_has_a_subtree_and_neither_size_nor_links():
    found = entry(stat.S_IFDIR | 0o755, links=5)
    node = NodeWriter().directory(found, **OWNER, subtree=ID, xattrs=[(b"user.<", b"\0")])
    assert node.decode() == (
        f"{head('dir', 2147484141)}"
        ',"extended_attributes":[{"name":"user.\\u003c","value":"AA=="}]'
        f',"content":null,"subtree":"{ID.hex()}"}}'
    )


def test_symlink_to_what_is_no_utf8_keeps_the_bytes():
    node = NodeWriter().other(entry(stat.S_IFLNK | 0o777), **OWNER, target=b"\xff&")
    assert node.decode() == (
        f'{head("symlink", 134218239)},"links":1,"linktarget":"\\ufffd\\u0026",'
        '"linktarget_raw":"/yY=","content":null}'
    )
    assert node_of(b"/a", read(node)).target == b"\xff&"


@pytest.mark.parametrize(
    ("kind", "mode", "rest"),
    [
        (EntryKind.CHAR_DEVICE, 69206436, '"links":1,"device":259,'),
        (EntryKind.BLOCK_DEVICE, 67109284, '"links":1,"device":259,'),
        (EntryKind.FIFO, 33554852, ""),
        (EntryKind.SOCKET, 16777636, ""),
    ],
)
def test_special_file_has_what_its_kind_has(kind, mode, rest):
    found = entry(format_of_kind(kind) | 0o644, rdev=259 if kind.is_device else 0)
    node = NodeWriter().other(found, **OWNER)
    assert node.decode() == f'{head(kind.value, mode)},{rest}"content":null}}'


def test_fifo_of_several_names_says_so():
    node = read(NodeWriter().other(entry(stat.S_IFIFO | 0o600, links=2), **OWNER))
    assert node.links == 2


def test_what_is_unknown_or_zero_is_left_out_except_owners():
    found = entry(stat.S_IFREG, inode=0, device=0, links=0, uid=0, gid=0)
    node = NodeWriter().file(found, user="", group="", content=[], size_bytes=0)
    keys = ("name", "type", "mtime", "atime", "ctime", "uid", "gid", "content")
    text = node.decode()
    assert [part.partition('"')[0] for part in text[2:].split(',"')] == list(keys)


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        (stat.S_IFREG | 0o644, 420),
        (stat.S_IFDIR | 0o755, 2147484141),
        (stat.S_IFDIR | 0o1777, 2148532735),
        (stat.S_IFREG | 0o4755, 8389101),
        (stat.S_IFREG | 0o2711, 4194761),
        (stat.S_IFREG | 0o1600, 1048960),
        (stat.S_IFLNK | 0o777, 134218239),
        (stat.S_IFIFO | 0o640, 33554848),
        (stat.S_IFCHR | 0o644, 69206436),
        (stat.S_IFBLK | 0o640, 67109280),
    ],
)
def test_mode_is_the_number_of_go(mode, number):
    assert go_mode(mode) == number
    assert permissions(number) == stat.S_IMODE(mode)


@given(st.integers(0, 0o7777), st.sampled_from(list(EntryKind)))
def test_permissions_come_back_from_any_mode(bits, kind):
    assert permissions(go_mode(format_of_kind(kind) | bits)) == bits


def test_mode_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="no known file type"):
        go_mode(0o160644)


owners = st.text(max_size=5)
numbers = st.integers(0, 2**32 - 1)
xattrs = st.lists(
    st.tuples(st.binary(min_size=1, max_size=9).filter(lambda raw: b"\0" not in raw), st.binary()),
    max_size=3,
)
entries = st.builds(
    Entry,
    name=st.binary(min_size=1, max_size=9).filter(lambda raw: b"/" not in raw),
    mode=st.integers(0, 0o7777).map(lambda bits: stat.S_IFREG | bits),
    uid=numbers,
    gid=numbers,
    size_bytes=numbers,
    mtime_ns=st.integers(-(2**62), 2**62),
    ctime_ns=st.integers(-(2**62), 2**62),
    inode=st.integers(0, 2**64 - 1),
    device=numbers,
    links=st.integers(1, 9),
    rdev=st.just(0),
    allocated_bytes=numbers,
)


@given(entries, owners, owners, st.lists(st.binary(min_size=32, max_size=32), max_size=3), xattrs)
def test_everything_about_a_file_comes_back(found, user, group, content, attributes):
    written = NodeWriter().file(
        found,
        user=user,
        group=group,
        content=content,
        size_bytes=found.size_bytes,
        xattrs=attributes,
    )
    node = read(written)
    assert node.raw_name == found.name
    assert node.content_ids() == content
    names_are_kept = all(name.isascii() for name, _ in attributes)
    if names_are_kept and "\ufffd" not in written.decode():
        assert encode_node(node) == written
    back = node_of(b"/" + found.name, node)
    assert (back.mtime_ns, back.ctime_ns) == (found.mtime_ns, found.ctime_ns)
    assert (back.mode, back.size_bytes) == (stat.S_IMODE(found.mode), found.size_bytes)
    assert (back.uid, back.gid, back.user, back.group) == (found.uid, found.gid, user, group)
    assert (back.inode, back.device, back.links) == (found.inode, found.device, found.links)
    if names_are_kept:
        assert back.xattrs == tuple(sorted(dict(attributes).items()))


def test_a_file_that_is_not_all_of_what_it_was_says_so():
    node = NodeWriter().file(entry(), **OWNER, content=[ID], size_bytes=7, fault='it "changed"')
    assert read(node).error == 'it "changed"'
    assert node.endswith(b'"],"error":"it \\"changed\\""}')
    whole = NodeWriter().file(entry(), **OWNER, content=[ID], size_bytes=7)
    assert read(whole).error == ""


def file_node(found: Entry, *, content: list[bytes], **others: object) -> tuple[bytes, bytes]:
    """Return what the node of a file begins with, and the node."""
    writer = NodeWriter()
    size_bytes = found.size_bytes
    start = writer.file_start(found, **OWNER, size_bytes=size_bytes).encode()
    return start, writer.file(found, **OWNER, content=content, size_bytes=size_bytes, **others)


@given(
    content=st.lists(st.binary(min_size=32, max_size=32), max_size=3),
    name=st.binary(min_size=1, max_size=5),
    facts=st.fixed_dictionaries(
        dict.fromkeys(("size_bytes", "inode", "device", "links"), st.integers(0, 3))
    ),
)
def test_what_a_file_begins_with_and_its_content_are_its_node(content, name, facts):
    start, node = file_node(entry(name=name, **facts), content=content)
    assert node.startswith(start)
    assert content_behind(start, node) == content


@pytest.mark.parametrize(
    "other",
    [
        {"uid": 5},
        {"gid": 5},
        {"mtime_ns": 1},
        {"ctime_ns": 2},
        {"inode": 1},
        {"device": 1},
        {"links": 2},
        {"size_bytes": 50},
        {"mode": stat.S_IFREG | 0o600},
        {"name": b"ab"},
    ],
)
def test_a_file_of_other_facts_has_another_node(other):
    _, node = file_node(entry(), content=[ID])
    start, _ = file_node(entry(**other), content=[ID])
    assert content_behind(start, node) is None


@pytest.mark.parametrize(
    "others", [{"fault": "not all of it"}, {"xattrs": [(b"user.a", b"b")]}], ids=str
)
def test_a_node_with_more_than_contents_is_another(others):
    start, node = file_node(entry(), content=[ID], **others)
    assert node.startswith(start)
    assert content_behind(start, node) is None


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        (ID.hex(), ID.hex().upper()),
        (ID.hex(), ID.hex()[:-2]),
        (ID.hex(), ID.hex()[:-1] + "g"),
        (ID.hex(), ID.hex()[:2] + " " + ID.hex()[2:]),
        (ID.hex(), "\xff" * 64),
        ('"]}', '" ]}'),
        ('"]}', '"],"subtree":null}'),
        ('"]}', '"],"of another writer":["1"]}'),
        ('"]}', '",]}'),
    ],
)
def test_a_node_that_others_would_write_differently_is_another(written, otherwise):
    start, node = file_node(entry(), content=[ID])
    altered = node.replace(written.encode(), otherwise.encode("latin-1"))
    assert altered != node
    assert content_behind(start, altered) is None
