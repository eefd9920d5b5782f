"""Whatever tree there is, what is restored is the same tree."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.restores import Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import make_node
from backapp_core.testing.trees import Item, TreeSpec, directory, same_tree, symlink

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in {b".", b".."} and not {0, 47} & set(name)
)
FACTS = {
    # What ext4 keeps; beyond, a time comes back as another one and a file looks changed.
    "mtime_ns": st.integers(-(2**31 - 1) * 10**9, 2**32 * 10**9),
    "uid": st.sampled_from([0, 1, 1000, 2**32 - 2]),
    "gid": st.sampled_from([0, 5, 2**32 - 2]),
}
MODES = st.integers(0, 0o7777)
XATTRS = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b", b"trusted.c"]), st.binary(max_size=30), max_size=2
).map(lambda found: tuple(sorted(found.items())))
ITEMS = st.one_of(
    st.builds(Item, content=st.binary(max_size=3000), mode=MODES, xattrs=XATTRS, **FACTS),
    st.builds(directory, mode=MODES, xattrs=XATTRS, **FACTS),
    st.builds(symlink, st.binary(min_size=1, max_size=99).filter(lambda t: 0 not in t), **FACTS),
    st.builds(
        Item,
        kind=st.sampled_from([EntryKind.FIFO, EntryKind.SOCKET]),
        mode=MODES,
        **FACTS,
    ),
    st.builds(
        Item,
        kind=st.sampled_from([EntryKind.CHAR_DEVICE, EntryKind.BLOCK_DEVICE]),
        mode=MODES,
        rdev=st.integers(0, 2**20 - 1),
        **FACTS,
    ),
)


@st.composite
def trees(draw: st.DrawFn) -> TreeSpec:
    items: dict[bytes, Item] = {}
    folders = [b""]
    for name in draw(st.lists(NAMES, max_size=12, unique=True)):
        item = draw(ITEMS)
        above = draw(st.sampled_from(folders))
        path = above + b"/" + name if above else name
        items[path] = item
        if item.kind is EntryKind.DIRECTORY:
            folders.append(path)
        elif item.kind is EntryKind.FILE and draw(st.booleans()):
            items[draw(st.sampled_from(folders)) + b"/" + name + b".link"] = Item(link_of=path)
    return TreeSpec({path.lstrip(b"/"): item for path, item in items.items()})


def to_node(path: bytes, item: Item) -> Node:
    return make_node(
        b"/" + path,
        item.kind,
        mode=item.mode,
        uid=item.uid or 0,
        gid=item.gid or 0,
        mtime_ns=item.mtime_ns,
        xattrs=item.xattrs,
        target=item.target,
        rdev=item.rdev,
        size_bytes=len(item.content) if item.kind is EntryKind.FILE else 0,
    )


def restore(spec: TreeSpec, root: Path, overwrite: Overwrite) -> FolderTarget:
    options = ExtractOptions(overwrite=overwrite)
    target = FolderTarget(os.fsencode(root), options, Surroundings(root, root))
    for path, item in spec.items.items():
        if item.link_of is not None:
            continue
        node = to_node(path, item)
        if item.kind is EntryKind.DIRECTORY:
            target.directory(node)
        elif item.kind is EntryKind.FILE and (file := target.file(node)) is not None:
            with file:
                half = len(item.content) // 2
                file.write_at(half, item.content[half:])
                file.write_at(0, item.content[:half])
                file.finish()
    target.links_follow()
    for path, item in spec.items.items():
        if item.link_of is not None:
            target.link(make_node(b"/" + path, links=2), b"/" + item.link_of)
        elif item.kind not in {EntryKind.FILE, EntryKind.DIRECTORY}:
            target.special(to_node(path, item))
    target.close()
    return target


def check_round_trip(spec: TreeSpec) -> None:
    with TemporaryDirectory() as place:
        wanted, root = Path(place) / "wanted", Path(place) / "out"
        spec.write(wanted)
        assert restore(spec, root, Overwrite.IF_CHANGED).outcome.is_complete
        assert same_tree(wanted, root, leaving_out=[b""])
        again = restore(spec, root, Overwrite.IF_CHANGED).outcome
        assert (again.files, again.others, again.problems) == (0, 0, 0)
        assert restore(spec, root, Overwrite.ALWAYS).outcome.is_complete
        assert same_tree(wanted, root, leaving_out=[b""])


@given(trees())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_trees_come_back_and_a_second_restore_writes_nothing(spec):
    check_round_trip(spec)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(trees())
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_many_random_trees_come_back(spec):
    check_round_trip(spec)
