"""Files that another process makes are as if they had been made here, and nothing is left of it."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.engine import extract_elsewhere, extract_folders
from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.engine.extract_parts import Parts
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.events import FileDone, Recording
from backapp_core.model.entries import EntryKind
from backapp_core.ports.targets import Errand, FileMaker, Lack
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.target_contract import make_node, write_file

D = EntryKind.DIRECTORY


@pytest.fixture(autouse=True)
def umask_of_a_person():
    """A maker clears it, in a process of its own."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def events() -> Recording:
    return Recording()


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def open_target(tmp_path, root, events) -> Callable[..., FolderTarget]:
    surroundings = make_surroundings(tmp_path, events=events)
    return lambda **options: FolderTarget(
        os.fsencode(root), ExtractOptions(**options), surroundings
    )


@pytest.fixture
def target(open_target) -> FolderTarget:
    target = open_target()
    target.directory(make_node(b"/d", D))
    return target


def maker_of(target: FolderTarget) -> FileMaker:
    maker = pickle.loads(pickle.dumps(target.file_maker()))
    maker.begin()
    return maker


def hand_over(target: FolderTarget, *nodes) -> Errand:
    errand = target.hand_over(nodes)
    assert errand is not None
    return errand


def finish(target: FolderTarget) -> None:
    target.links_follow()
    target.close()


def test_a_file_has_the_mode_of_the_snapshot_whatever_the_umask(target, root):
    for mode in (0o000, 0o666, 0o777, 0o1644):
        name = b"%o" % mode
        errand = hand_over(target, make_node(b"/d/" + name, mode=mode, size_bytes=1))
        assert maker_of(target).make(errand.folder, errand.files[0], b"x") is None
        errand.settle((), {})
        assert (root / "d" / os.fsdecode(name)).stat().st_mode & 0o7777 == mode
    finish(target)


def test_what_is_shorter_than_the_file_ends_in_a_hole(target, root):
    errand = hand_over(target, make_node(b"/d/f", size_bytes=1 << 20))
    assert maker_of(target).make(errand.folder, errand.files[0], b"") is None
    errand.settle((), {})
    finish(target)
    assert (root / "d/f").stat().st_blocks == 0
    assert (root / "d/f").read_bytes() == bytes(1 << 20)


def test_files_are_counted_and_reported_when_they_are_settled(open_target, events):
    target = open_target(reports_files=True)
    target.directory(make_node(b"/d", D))
    errand = hand_over(
        target, *(make_node(b"/d/" + name, size_bytes=3) for name in (b"a", b"b", b"c"))
    )
    assert target.outcome.files == 0
    errand.settle({1}, {2: Lack("owner 7:7 cannot be set", is_withheld=True)})
    finish(target)
    assert [one.path for one in events.of(FileDone)] == [b"/d/a", b"/d/c"]
    outcome = target.outcome
    assert (outcome.files, outcome.restored_bytes, outcome.withheld) == (2, 6, 1)
    assert outcome.incomplete == ((b"/d/c", "owner 7:7 cannot be set"),)
    assert outcome.not_restored == ()


def test_privileges_are_withheld_as_here(open_target, root):
    target = open_target(special=False)
    target.directory(make_node(b"/d", D))
    errand = hand_over(target, make_node(b"/d/f", mode=0o4755))
    lack = maker_of(target).make(errand.folder, errand.files[0], b"")
    assert lack == Lack("", is_withheld=True)
    assert (root / "d/f").stat().st_mode & 0o7777 == 0o755


def test_nothing_is_handed_over_of_a_directory_that_was_there_before(open_target, root):
    (root / "d").mkdir(parents=True)
    target = open_target()
    target.directory(make_node(b"/d", D))
    assert target.hand_over([make_node(b"/d/f")]) is None
    assert target.hand_over([make_node(b"/f")]) is None
    finish(target)


@pytest.mark.parametrize(
    "path", [b"", b"f", b"/d/", b"/d/.", b"/d/..", b"/d/a\0b", b"/d/../f", b"/e/f"]
)
def test_a_path_that_could_lead_elsewhere_is_not_handed_over(target, path):
    assert target.hand_over([make_node(b"/d/good"), make_node(path)]) is None
    assert target.hand_over([make_node(path + b"/../f")]) is None
    finish(target)


def test_what_stands_there_is_not_replaced_and_nothing_is_left(target, root):
    (root / "d/f").write_text("somebody's")
    errand = hand_over(target, make_node(b"/d/f", size_bytes=1))
    with pytest.raises(EntryNotRestored, match="appeared there"):
        maker_of(target).make(errand.folder, errand.files[0], b"x")
    errand.settle({0}, {})
    assert os.listdir(root / "d") == ["f"]
    assert (root / "d/f").read_text() == "somebody's"
    finish(target)


@pytest.mark.parametrize("call", ["write", "fstat", "close", "open"])
@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, TargetError), (errno.EACCES, EntryNotRestored)]
)
def test_a_file_that_fails_on_the_way_leaves_nothing(target, root, monkeypatch, call, code, kind):
    errand = hand_over(target, make_node(b"/d/f", size_bytes=1))
    maker = maker_of(target)
    real = getattr(os, call)

    def refuse(*arguments: object, **options: object) -> None:
        monkeypatch.undo()  # the first call alone
        if call == "close":
            real(*arguments, **options)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(kind) as raised:
        maker.make(errand.folder, errand.files[0], b"x")
    assert type(raised.value) is kind
    assert os.listdir(root / "d") == []
    errand.settle({0}, {})
    finish(target)


def _left_by_a_dead_process(monkeypatch) -> bytes:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1 << 29)
        return Parts(b"dead").new_name()


def test_what_a_dead_process_left_is_taken_back(target, root, events, monkeypatch):
    nodes = [make_node(b"/d/" + name, size_bytes=1) for name in (b"made", b"begun", b"neither")]
    errand = hand_over(target, *nodes)
    maker_of(target).make(errand.folder, errand.files[0], b"x")
    (root / "d" / os.fsdecode(_left_by_a_dead_process(monkeypatch))).write_bytes(b"half")
    (root / "d/another").write_bytes(b"of another errand")
    errand.reclaim()
    assert os.listdir(root / "d") == ["another"]
    for node in nodes:
        write_file(target, node, b"y")
    finish(target)
    assert events.problem_paths == []
    assert target.outcome.files == 3
    assert (root / "d/made").read_bytes() == b"y"


def test_a_target_that_is_closed_early_tidies_what_a_dead_process_left(target, root, monkeypatch):
    hand_over(target, make_node(b"/d/f", size_bytes=1))
    (root / "d" / os.fsdecode(_left_by_a_dead_process(monkeypatch))).write_bytes(b"half")
    target.close()
    assert os.listdir(root / "d") == []


def test_a_directory_that_a_restore_comes_back_to_is_still_its_own(target, root, monkeypatch):
    monkeypatch.setattr(extract_folders, "_OPEN_RECENT", 1)
    target.directory(make_node(b"/e", D))
    target.directory(make_node(b"/f", D))
    assert hand_over(target, make_node(b"/d/f")) is not None
    finish(target)


@pytest.mark.parametrize("change", ["chmod", "chown", "another"])
def test_a_directory_that_is_not_as_it_was_made_is_nobodys_own(target, root, monkeypatch, change):
    monkeypatch.setattr(extract_folders, "_OPEN_RECENT", 1)
    target.directory(make_node(b"/e", D))
    target.directory(make_node(b"/f", D))
    if change == "chmod":
        (root / "d").chmod(0o770)
    elif change == "chown":
        if os.geteuid():  # only root gives directories away
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
        else:
            os.chown(root / "d", 12345, -1)
    else:
        (root / "d").rename(root / "away")
        (root / "d").mkdir(mode=0o700)
    assert target.hand_over([make_node(b"/d/f")]) is None
    finish(target)


def test_a_directory_that_cannot_be_looked_at_ends_the_restore(target, monkeypatch):
    errand = hand_over(target, make_node(b"/d/f"))

    def refuse(_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(extract_elsewhere, "sweep", refuse)
    with pytest.raises(TargetError):
        errand.reclaim()
    target.close()


def test_a_maker_that_has_not_begun_makes_nothing(target):
    errand = hand_over(target, make_node(b"/d/f"))
    with pytest.raises(ValueError, match="begin"):
        target.file_maker().make(errand.folder, errand.files[0], b"")
    target.close()
