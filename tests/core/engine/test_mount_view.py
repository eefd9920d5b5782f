"""What a mounted repository shows, without anything being mounted."""

import stat

import pytest

from backapp_core.errors import PathNotFound

TREE = {b"/home/me/a": b"1234567890", b"/home/me/b": b"", b"/srv/c": b"c"}


@pytest.fixture
def view(engine, repository, take):
    take(TREE, roots=["/home", "/srv"], hostname="here", tags=("x",))
    take({**TREE, b"/new/d": b"new"}, roots=["/home", "/new"], hostname="there/or not")
    return engine.upkeep(repository).view(engine.snapshots(repository))


def test_snapshots_stand_by_id_time_host_and_tag(engine, repository, view):
    first, second = engine.snapshots(repository)
    assert view.names(b"/") == [b"ids", b"hosts", b"tags", b"snapshots"]
    assert view.names(b"/ids") == [first.short_id.encode(), second.short_id.encode()]
    assert view.names(b"/hosts") == [b"here", b"there_or not"]
    assert len(view.names(b"/tags/x")) == 2
    assert len(view.names(b"/snapshots")) == 3
    newest = view.link(b"/snapshots/latest")
    assert b"new" in view.names(b"/snapshots/" + newest)


def test_folders_and_files_are_those_of_the_snapshot(view):
    top = b"/hosts/here/" + view.link(b"/hosts/here/latest")
    assert sorted(view.names(top)) == [b"home", b"srv"]
    assert sorted(view.names(top + b"/home/me")) == [b"a", b"b"]
    facts = view.facts(top + b"/home/me/a")
    assert (facts["st_size"], stat.S_ISREG(facts["st_mode"])) == (10, True)
    assert facts["st_blocks"] == 1
    assert all(type(facts[name]) is int for name in facts)
    assert stat.S_ISDIR(view.facts(top + b"/home")["st_mode"])
    assert stat.S_ISLNK(view.facts(b"/hosts/here/latest")["st_mode"])
    assert view.attributes(top + b"/home/me/a") == {}


def test_a_file_is_read_from_anywhere(view):
    top = b"/hosts/here/" + view.link(b"/hosts/here/latest")
    file = view.open(top + b"/home/me/a")
    assert file.read(4, 3) == b"567"
    assert file.read(0, 100) == b"1234567890"
    assert file.read(10, 5) == b""
    file.close()


@pytest.mark.parametrize("path", [b"/nowhere", b"/ids/x", b"/hosts/here/latest/x", b"/ids/x/y"])
def test_what_is_not_there_is_not_found(view, path):
    for ask in (view.facts, view.names, view.link, view.open):
        with pytest.raises(PathNotFound):
            ask(path)


def test_what_is_not_in_a_snapshot_is_not_found(view):
    top = b"/hosts/here/" + view.link(b"/hosts/here/latest")
    for path in (b"/no", b"/home/no", b"/srv/c/no"):
        with pytest.raises(PathNotFound):
            view.facts(top + path)
    with pytest.raises(PathNotFound):
        view.open(top + b"/home")
