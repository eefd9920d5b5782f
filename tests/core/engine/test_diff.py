from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from backapp_core import ChangeKind
from backapp_core.engine.diff import Differences, _merge
from backapp_core.model.entries import EntryKind, Node
from backapp_core.testing.memory_scanner import Link


def changes(engine, repository, before, after, **more):
    return [
        (change.kind.value, change.path)
        for change in engine.diff(repository, before, after, **more)
    ]


def test_each_sort_of_change_has_its_letter(engine, repository, take):
    before = take(
        {b"/h/same": b"1", b"/h/edit": b"1", b"/h/gone": b"123", b"/h/link": Link(b"a")},
        roots=["/h"],
    )
    after = take(
        {b"/h/same": b"1", b"/h/edit": b"22", b"/h/new/x": b"1", b"/h/link": Link(b"b")},
        roots=["/h"],
    )
    differences = engine.diff(repository, before, after)
    assert [(change.kind.value, change.path) for change in differences] == [
        ("M", b"/h/edit"),
        ("M", b"/h/link"),
        ("-", b"/h/gone"),
        ("+", b"/h/new"),
        ("+", b"/h/new/x"),
    ]
    stats = differences.stats
    assert (stats.changed_files, stats.added.files, stats.added.directories) == (2, 1, 1)
    assert (stats.removed.files, stats.removed.bytes, stats.added.bytes) == (1, 4, 3)


def test_snapshot_equals_itself(engine, repository, take):
    snapshot = take({b"/home/a": b"1"})
    assert changes(engine, repository, snapshot, snapshot, metadata=True) == []


def test_change_of_type_is_one_change(engine, repository, take):
    before = take({b"/home/a": b"1", b"/home/b/x": b"1", b"/home/c": b""})
    after = take({b"/home/a/y": b"1", b"/home/b": b"1", b"/home/c": Link(b"a")})
    assert changes(engine, repository, before, after) == [
        ("T", b"/home/c"),
        ("T", b"/home/a"),
        ("+", b"/home/a/y"),
        ("T", b"/home/b"),
        ("-", b"/home/b/x"),
    ]


PARTS = st.sampled_from([b"a", b"a-", b"b", b"a.b", b"\xff"])
TREES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=3).map(tuple), st.integers(0, 2), max_size=12
)


def nodes_of(tree):
    """Make the nodes of a tree as a repository yields them; what has others below is a folder."""
    folders = {()}
    for path in tree:
        for length in range(len(path)):
            folders.add(path[:length])
    files = {path: content for path, content in tree.items() if path not in folders}
    found = {}
    order = sorted(
        [*((path, True) for path in folders), *((path, False) for path in files)],
        key=lambda pair: (
            [(1, part) for part in pair[0][:-1]]
            + ([(int(pair[1]), pair[0][-1])] if pair[0] else [])
        ),
    )
    for path, is_folder in order:
        content = files.get(path, 0)
        found[b"/" + b"/".join(path)] = Node(
            path=b"/" + b"/".join(path),
            kind=EntryKind.DIRECTORY if is_folder else EntryKind.FILE,
            mode=0o755,
            uid=0,
            gid=0,
            user="",
            group="",
            size_bytes=0 if is_folder else 1,
            mtime_ns=0,
            ctime_ns=0,
            inode=1,
            device=1,
            links=1,
            sha256="" if is_folder else f"{content:064x}",
        )
    return found


@settings(max_examples=300, deadline=None)
@given(TREES, TREES)
def test_walk_of_both_agrees_with_comparing_everything(before, after):
    old, new = nodes_of(before), nodes_of(after)
    expected = {}
    for path in old.keys() | new.keys():
        if path not in new:
            expected[path] = ChangeKind.REMOVED
        elif path not in old:
            expected[path] = ChangeKind.ADDED
        elif old[path].kind is not new[path].kind:
            expected[path] = ChangeKind.TYPE
        elif old[path].sha256 != new[path].sha256:
            expected[path] = ChangeKind.CONTENT
    told = list(Differences(_merge(iter(old.values()), iter(new.values()))))
    assert {change.path: change.kind for change in told} == expected
    assert len(told) == len(expected), "no path is told twice"
    for change in told:
        assert change.before is old.get(change.path)
        assert change.after is new.get(change.path)


def test_metadata_alone_is_told_only_when_asked():
    node = nodes_of({(b"a",): 1})[b"/a"]
    other = evolve(node, mode=0o600)
    told = [change.kind for change in _merge(iter([node]), iter([other]))]
    assert told == [ChangeKind.METADATA]


def test_file_without_hash_is_compared_by_size_and_time():
    node = evolve(nodes_of({(b"a",): 1})[b"/a"], sha256="")
    assert list(_merge(iter([node]), iter([node]))) == []
    later = evolve(node, mtime_ns=1)
    assert [change.kind for change in _merge(iter([node]), iter([later]))] == [ChangeKind.CONTENT]
