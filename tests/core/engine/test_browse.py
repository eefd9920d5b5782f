from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backapp_core import FindRequest, SnapshotFilter
from backapp_core.engine.browse import choose
from backapp_core.errors import (
    AmbiguousSnapshot,
    InputError,
    InvalidPattern,
    PathNotFound,
    SnapshotNotFound,
)
from backapp_core.model.snapshots import Snapshot

TREE = {b"/home/a": b"1", b"/home/b-c": b"", b"/home/b/x.conf": b"22", b"/home/b/d/y": b"3"}


def make(prefix, *, minutes=0, host="h"):
    return Snapshot(
        id=prefix.ljust(64, "0"),
        taken_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes),
        hostname=host,
        username="u",
        roots=(b"/home",),
    )


def test_latest_is_the_newest_within_the_filter(engine, repository, take):
    here = take(TREE, hostname="here")
    take(TREE, hostname="there")
    only_here = SnapshotFilter(hostnames=frozenset({"here"}))
    assert engine.find_snapshot(repository, "latest", only_here) == here


def test_latest_of_an_empty_repository_is_missing(engine, repository):
    with pytest.raises(SnapshotNotFound, match="holds none yet"):
        engine.find_snapshot(repository, "latest")


def test_latest_that_the_filter_hides_is_missing(engine, repository, take):
    take(TREE, hostname="here")
    with pytest.raises(SnapshotNotFound, match="none matches the filter"):
        engine.find_snapshot(repository, "latest", SnapshotFilter(hostnames=frozenset({"x"})))


def test_every_prefix_of_an_only_snapshot_names_it(engine, repository, take):
    snapshot = take(TREE)
    for length in (1, 8, 64):
        assert engine.find_snapshot(repository, snapshot.id[:length].upper()) == snapshot


@pytest.mark.parametrize(
    "pattern", ["[", "a[b", "[z-a]", "/home/[", "a\\", "[[:nope:]]", " ", "!x"]
)
def test_find_by_a_malformed_pattern_is_refused(engine, repository, pattern):
    with pytest.raises(InvalidPattern, match=r"^pattern '.*' cannot be used"):
        engine.find(repository, FindRequest((pattern,)))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("[[:digit:]]x", "7x"),
        ("[]x]", "]"),
        (r"[\]a]", "]"),
        (r"[a\-z]", "-"),
        ("[a-]", "-"),
        ("[&&~|^[]", "["),
        ("?", "\u00e9"),
        ("[\u00e0-\u00ff]", "\u00e9"),
        ("[[]", "["),
    ],
)
def test_find_knows_what_patterns_of_a_backup_may_say(engine, repository, take, pattern, name):
    path = b"/home/" + name.encode()
    take({path: b"", b"/home/other": b""})
    assert found(engine, repository, pattern) == [path]


@pytest.mark.parametrize("name", ["", "xyz", "latest ", "../a", "0" * 65, "\u0661"])
def test_what_is_no_id_is_refused(name):
    with pytest.raises(SnapshotNotFound):
        choose([make("0")], name)


def test_prefix_of_several_lists_them():
    with pytest.raises(AmbiguousSnapshot, match="2 snapshots") as caught:
        choose([make("aab"), make("aac"), make("b")], "aa")
    assert "aab0" in caught.value.message
    assert "aac0" in caught.value.message


def test_prefix_of_many_lists_some():
    many = [make(f"a{number:02}") for number in range(20)]
    with pytest.raises(AmbiguousSnapshot, match="and 15 more"):
        choose(many, "a")


def test_latest_counts_for_each_host_and_roots(engine, repository, take):
    take(TREE, hostname="one")
    second = take(TREE, hostname="one")
    other = take(TREE, hostname="two")
    assert engine.snapshots(repository, latest=1) == [second, other]


def test_whole_listing_is_in_the_order_of_the_repository(engine, repository, take):
    paths = [node.path for node in engine.list_nodes(repository, take(TREE))]
    assert paths == [
        b"/",
        b"/home",
        b"/home/a",
        b"/home/b-c",
        b"/home/b",
        b"/home/b/x.conf",
        b"/home/b/d",
        b"/home/b/d/y",
    ]


def test_listing_below_a_folder(engine, repository, take):
    snapshot = take(TREE)
    paths = [node.path for node in engine.list_nodes(repository, snapshot, under=b"/home//b/")]
    assert paths == [b"/home/b", b"/home/b/x.conf", b"/home/b/d", b"/home/b/d/y"]


@pytest.mark.parametrize(
    ("under", "expected"),
    [
        (b"/home/b", [b"/home/b", b"/home/b/x.conf", b"/home/b/d"]),
        (b"/", [b"/", b"/home"]),
        (b"/home/a", [b"/home/a"]),
    ],
)
def test_listing_of_one_level(engine, repository, take, under, expected):
    nodes = engine.list_nodes(repository, take(TREE), under=under, recursive=False)
    assert [node.path for node in nodes] == expected


def test_listing_of_a_missing_path_is_an_error(engine, repository, take):
    with pytest.raises(PathNotFound, match="'/home/c'"):
        list(engine.list_nodes(repository, take(TREE), under=b"/home/c"))


def found(engine, repository, *patterns, **more):
    return [match.node.path for match in engine.find(repository, FindRequest(patterns, **more))]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.conf", [b"/home/b/x.conf"]),
        ("[xy]*", [b"/home/b/x.conf", b"/home/b/d/y"]),
        ("[!a-x]", [b"/home/b/d/y"]),
        ("b/*", [b"/home/b/x.conf", b"/home/b/d"]),
        ("/home/*", [b"/home/a", b"/home/b-c", b"/home/b"]),
        (
            "/home/**",
            [b"/home/a", b"/home/b-c", b"/home/b", b"/home/b/x.conf", b"/home/b/d", b"/home/b/d/y"],
        ),
        ("home/**/y", [b"/home/b/d/y"]),
        ("X.CONF", []),
        ("x.con", []),
        ("\\*", []),
    ],
)
def test_find_by_pattern(engine, repository, take, pattern, expected):
    take(TREE)
    assert found(engine, repository, pattern) == expected


def test_find_without_regard_to_case(engine, repository, take):
    take(TREE)
    assert found(engine, repository, "X.CONF", ignores_case=True) == [b"/home/b/x.conf"]


def test_find_goes_through_snapshots_newest_first(engine, repository, take):
    old = take(TREE)
    new = take({b"/home/a": b"2"})
    matches = list(engine.find(repository, FindRequest(("a",))))
    assert [match.snapshot.id for match in matches] == [new.id, old.id]
    assert [match.node.size_bytes for match in matches] == [1, 1]


def test_find_in_named_snapshots_only(engine, repository, take):
    old = take(TREE)
    take({b"/home/a": b"2"})
    matches = list(engine.find(repository, FindRequest(("a",), snapshots=(old.id[:12],))))
    assert [match.snapshot.id for match in matches] == [old.id]


def test_find_without_a_pattern_is_refused(engine, repository):
    with pytest.raises(InputError, match="no pattern"):
        engine.find(repository, FindRequest(()))


@pytest.mark.parametrize(
    "name", [b"a[1]", b"a\\b", b"a&&b", b"a\nb", b"\xff", b"a]b", b"a--b~~c||d"]
)
def test_find_takes_any_name_between_stars(engine, repository, take, name):
    take({b"/home/" + name: b""})
    assert found(engine, repository, "?*") == [b"/home", b"/home/" + name]


@pytest.mark.parametrize("path", ["/home/sub", b"/home/sub", Path("/home/sub")])
def test_place_to_list_is_taken_in_every_form(engine, repository, take, path):
    snapshot = take({b"/home/sub/a": b"1"})
    found = engine.list_nodes(repository, snapshot, under=path, recursive=False)
    assert [node.path for node in found] == [b"/home/sub", b"/home/sub/a"]


@pytest.mark.parametrize("name", [b"latest", None, 5])
def test_name_of_a_snapshot_that_is_no_text_is_refused(engine, repository, take, name):
    take({b"/home/a": b"1"})
    with pytest.raises(InputError, match="is no name of a snapshot"):
        engine.find_snapshot(repository, name)
