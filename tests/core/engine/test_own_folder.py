"""Nothing is written out into the repository that it comes from."""

import os

import pytest

from backapp_core import RestoreRequest
from backapp_core.engine.own_folder import check_outside
from backapp_core.errors import InputError
from backapp_core.hookspecs import hookimpl
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import MemoryTransport


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


@pytest.fixture
def extra_plugins(folder, fakes):
    class OnDisk(MemoryTransport):
        @property
        def folder(self):
            return folder

    class Here:
        @hookimpl
        def backapp_transports(self):
            opened = OnDisk()
            return [TransportKind("here", frozenset({"here"}), str, str, lambda *_: opened)]

    return {"here": Here()}


@pytest.fixture
def kept(engine, tree):
    """A repository in a folder, and its snapshot."""
    tree[b"/home/a"] = b"1"
    with engine.create_repository("here:x", archiver="memory") as repository:
        yield repository, engine.backup(repository, ["/home"]).snapshot


@pytest.mark.parametrize("way", ["", "back", "a/b/c", "../repository/back", "link/back"])
def test_restore_into_the_repository_is_refused_and_makes_nothing(engine, kept, folder, way):
    (folder.parent / "link").symlink_to(folder)
    target = folder.parent / way if way.startswith("link") else folder / way
    with pytest.raises(InputError, match="lies in the repository"):
        engine.plan_restore(*kept, RestoreRequest(target))
    with pytest.raises(InputError, match="lies in the repository"):
        engine.check_target(kept[0], target)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("way", ["", "repository2", "back", "missing/deep"])
def test_restore_beside_the_repository_is_fine(engine, kept, tmp_path, way):
    target = tmp_path / way
    engine.check_target(kept[0], target)
    assert engine.restore(engine.plan_restore(*kept, RestoreRequest(target))).is_complete
    assert (target / "home/a").read_bytes() == b"1"


def test_repository_that_is_no_folder_lets_every_target_be(engine, repository, tmp_path):
    engine.check_target(repository, tmp_path)


def test_relative_target_is_seen_from_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match="lies in the repository"):
        check_outside(folder, "back")


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_target_that_is_no_text_is_named_in_plain_letters(folder):
    with pytest.raises(InputError, match=r"bad\\xff lies in the repository"):
        check_outside(folder, os.fsdecode(bytes(folder) + b"/bad\xff"))
