"""The safe extractor keeps the contract of targets, and its own promises."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import EntryNotRestored
from backapp_core.events import FileDone, LogLine, Recording
from backapp_core.model.entries import EntryKind
from backapp_core.model.restores import Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.target_contract import (
    TargetContract,
    look_below,
    make_node,
    write_file,
)

D = EntryKind.DIRECTORY


@pytest.fixture
def events():
    return Recording()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def open_target(tmp_path, root, events) -> Callable[..., FolderTarget]:
    surroundings = Surroundings(tmp_path, tmp_path, events=events)

    def open_(**options) -> FolderTarget:
        return FolderTarget(os.fsencode(root), ExtractOptions(**options), surroundings)

    return open_


class TestFolderTarget(TargetContract):
    @pytest.fixture
    def reopen(self, tmp_path, events):
        surroundings = make_surroundings(tmp_path, events=events)
        return lambda: FolderTarget(os.fsencode(tmp_path / "out"), ExtractOptions(), surroundings)

    @pytest.fixture
    def look(self, tmp_path):
        return look_below(tmp_path / "out")


def finish(target: FolderTarget) -> None:
    target.links_follow()
    target.close()


def test_missing_root_and_its_parents_are_private(tmp_path, events):
    os.umask(os.umask(0o022))
    surroundings = Surroundings(tmp_path, tmp_path, events=events)
    finish(FolderTarget(os.fsencode(tmp_path / "a/b/c"), ExtractOptions(), surroundings))
    modes = [(tmp_path / part).stat().st_mode & 0o777 for part in ("a", "a/b", "a/b/c")]
    assert modes == [0o700] * 3


def test_root_may_be_reached_through_a_link_and_keeps_its_metadata(tmp_path, root, open_target):
    real = tmp_path / "real"
    real.mkdir(mode=0o751)
    real.chmod(0o751)
    root.symlink_to(real)
    target = open_target()
    target.directory(make_node(b"/", D, mode=0o700))
    write_file(target, make_node(b"/f"), b"")
    finish(target)
    assert real.stat().st_mode & 0o777 == 0o751
    assert (real / "f").exists()


def test_directories_are_private_until_the_end(root, open_target):
    target = open_target()
    target.directory(make_node(b"/d", D, mode=0o755))
    target.directory(make_node(b"/d/e", D, mode=0o777))
    assert [(root / one).stat().st_mode & 0o777 for one in ("d", "d/e")] == [0o700, 0o700]
    finish(target)
    assert [(root / one).stat().st_mode & 0o777 for one in ("d", "d/e")] == [0o755, 0o777]


def test_missing_parents_are_made_private_and_stay_so(root, open_target):
    target = open_target()
    write_file(target, make_node(b"/a/b/f", size_bytes=1), b"x")
    finish(target)
    assert (root / "a/b/f").read_bytes() == b"x"
    assert (root / "a").stat().st_mode & 0o777 == 0o700


def test_outcome_counts_what_was_done(open_target, events):
    target = open_target(reports_files=True)
    target.directory(make_node(b"/d", D))
    write_file(target, make_node(b"/d/f", size_bytes=3, links=2), b"abc")
    target.links_follow()
    target.link(make_node(b"/d/g", size_bytes=3, links=2), b"/d/f")
    target.special(make_node(b"/d/s", EntryKind.SYMLINK, target=b"f"))
    target.special(make_node(b"/x/../y", EntryKind.FIFO))
    target.close()
    outcome = target.outcome
    assert (outcome.files, outcome.restored_bytes) == (2, 3)
    assert (outcome.directories, outcome.others, outcome.kept) == (1, 1, 0)
    assert outcome.not_restored == ((b"/x/../y", "its path could lead elsewhere"),)
    assert not outcome.is_complete
    assert [event.path for event in events.of(FileDone)] == [b"/d/f", b"/d/g"]


@pytest.mark.parametrize("mtime_ns", [-1, 0, -(2**31) * 10**9 - 5, 2**32 * 10**9 + 1])
def test_times_are_exact_to_the_nanosecond(root, open_target, mtime_ns):
    target = open_target()
    target.directory(make_node(b"/d", D, mtime_ns=mtime_ns))
    write_file(target, make_node(b"/d/f", mtime_ns=mtime_ns), b"")
    target.links_follow()
    target.special(make_node(b"/d/s", EntryKind.SYMLINK, target=b"f", mtime_ns=mtime_ns))
    target.close()
    # The system itself may keep less; what it keeps for the plain call is the measure.
    probe = root / "probe"
    probe.touch()
    os.utime(probe, ns=(mtime_ns, mtime_ns))
    wanted = probe.stat().st_mtime_ns
    found = [(root / one).lstat().st_mtime_ns for one in ("d", "d/f", "d/s")]
    assert found == [wanted] * 3


@pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")
def test_owners_are_kept_up_to_the_largest_number(root, open_target):
    target = open_target()
    largest = 2**32 - 2
    target.directory(make_node(b"/d", D, uid=largest, gid=largest))
    write_file(target, make_node(b"/d/f", uid=largest, gid=5), b"")
    target.links_follow()
    target.special(make_node(b"/d/s", EntryKind.SYMLINK, target=b"f", uid=7, gid=largest))
    target.close()
    owners = [((root / one).lstat().st_uid, (root / one).lstat().st_gid) for one in ("d", "d/f")]
    assert owners == [(largest, largest), (largest, 5)]
    assert ((root / "d/s").lstat().st_uid, (root / "d/s").lstat().st_gid) == (7, largest)


@pytest.mark.parametrize(
    "facts",
    [{"uid": 2**32 - 1}, {"gid": -1}, {"uid": 2**70}, {"mtime_ns": 10**40}],
    ids=["no-owner", "no-group", "huge-owner", "huge-time"],
)
def test_impossible_metadata_costs_no_content(root, open_target, facts):
    target = open_target(owners=True)
    target.directory(make_node(b"/d", D, **facts))
    write_file(target, make_node(b"/d/f", size_bytes=1, **facts), b"x")
    finish(target)
    assert (root / "d/f").read_bytes() == b"x"
    assert target.outcome.not_restored == ()
    assert [path for path, _ in target.outcome.incomplete] == [b"/d/f", b"/d"]


def test_holes_stay_holes(root, open_target):
    size = 64 << 20
    target = open_target()
    file = target.file(make_node(b"/f", size_bytes=size))
    assert file is not None
    file.write_at(size // 2, b"x" * 4096)
    file.finish()
    finish(target)
    status = (root / "f").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 < 1 << 20


def test_files_of_many_directories_come_in_any_order_with_few_descriptors(root, open_target):
    target = open_target()
    folders = [b"/d%03d" % number for number in range(100)]
    for folder in folders:
        target.directory(make_node(folder, D))
    before = len(os.listdir("/proc/self/fd"))
    for name in (b"/a", b"/b", b"/c"):
        for folder in (*folders[:3], *folders, *reversed(folders[:3])):
            write_file(target, make_node(folder + name + folder[1:], size_bytes=4), name * 2)
            name += b"x"  # noqa: PLW2901  # every file is called otherwise
    assert len(os.listdir("/proc/self/fd")) <= before
    finish(target)
    assert target.outcome.problems == 0
    assert sum(path.is_file() for path in root.rglob("*")) == 3 * 106


def test_tree_deeper_than_descriptors_and_longer_than_paths(root, open_target):
    import resource

    depth = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    target = open_target()
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 160, hard))
    try:
        path = b""
        for _ in range(depth):
            path += b"/some-name"
            target.directory(make_node(path, D, mode=0o750))
        write_file(target, make_node(path + b"/f", size_bytes=4), b"deep")
        target.links_follow()
        target.link(make_node(b"/g", size_bytes=4, links=2), path + b"/f")
        target.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert target.outcome.problems == 0
    assert (root / "g").read_bytes() == b"deep"
    assert (root / "some-name/some-name").stat().st_mode & 0o777 == 0o750
    subprocess.run(["rm", "-rf", str(root)], check=True)


def test_directories_are_not_kept_in_memory(root, open_target):
    """More directories than one block of the spool holds get their metadata, the deepest first."""
    target = open_target()
    target.directory(make_node(b"/d", D, mode=0o500, mtime_ns=5))
    for number in range(2500):
        target.directory(make_node(b"/d/%d" % number, D, mode=0o511, mtime_ns=number))
    assert len(target._spool._recent) < 1100
    finish(target)
    assert (root / "d").stat().st_mtime_ns == 5
    assert {(root / "d" / str(n)).stat().st_mtime_ns for n in range(2500)} == set(range(2500))


def test_names_that_do_not_fit_are_reported(open_target):
    target = open_target()
    long = b"n" * 300
    target.directory(make_node(b"/" + long, D))
    assert target.file(make_node(b"/" + long)) is None
    target.directory(make_node(b"/d", D))
    in_new_folder = target.file(make_node(b"/d/" + long))
    assert in_new_folder is not None
    with in_new_folder, pytest.raises(EntryNotRestored):
        in_new_folder.finish()
    finish(target)
    reasons = dict(target.outcome.not_restored)
    assert list(reasons) == [b"/" + long, b"/d/" + long]
    assert target.outcome.problems == 3
    assert all("File name too long" in reason for reason in reasons.values())


def test_name_of_the_longest_length_is_restored(root, open_target):
    target = open_target()
    write_file(target, make_node(b"/" + b"f" * 255), b"")
    finish(target)
    assert (root / ("f" * 255)).exists()


def test_temporary_files_of_dead_processes_are_removed(root, open_target):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from backapp_core.engine.extract import *\n"
        "from backapp_core.ports.surroundings import Surroundings\n"
        "from backapp_core.testing.target_contract import make_node\n"
        "target = FolderTarget(os.fsencode(sys.argv[1]), ExtractOptions(), "
        "Surroundings(Path('/'), Path('/')))\n"
        "target.directory(make_node(b'/d', 'dir'))\n"
        "for path in (b'/d/f', b'/g'):\n"
        "    target.file(make_node(path, size_bytes=9)).write_at(0, b'half')\n"
        "os.kill(os.getpid(), 9)\n"
    ).replace("'dir'", "__import__('backapp_core').model.entries.EntryKind.DIRECTORY")
    killed = subprocess.run([sys.executable, "-c", script, str(root)], check=False)
    assert killed.returncode == -9
    left = sorted(path.name for path in root.rglob("*") if path.is_file())
    assert len(left) == 2
    assert all(name.startswith(".backapp-") and name.endswith(".part") for name in left)
    assert (root / "d").stat().st_mode & 0o777 == 0o700
    (root / "d/.backapp-notes.part").write_text("the user's own")

    target = open_target()
    target.directory(make_node(b"/d", D))
    mine = target.file(make_node(b"/d/f", size_bytes=1))
    assert mine is not None
    other = open_target()
    other.directory(make_node(b"/d", D))
    finish(other)
    mine.write_at(0, b"x")
    mine.finish()
    finish(target)
    assert sorted(path.name for path in (root / "d").iterdir()) == [".backapp-notes.part", "f"]
    assert sorted(path.name for path in root.iterdir()) == ["d"]


def test_interrupted_restore_keeps_directories_private(root, open_target):
    target = open_target()
    target.directory(make_node(b"/d", D, mode=0o755))
    target.close()
    assert (root / "d").stat().st_mode & 0o777 == 0o700


def test_no_descriptor_is_left_open(open_target):
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    target = open_target()
    for number in range(100):
        target.directory(make_node(b"/d%d" % number, D))
        target.file(make_node(b"/d%d/f" % number))
    finish(target)
    assert len(os.listdir("/proc/self/fd")) == before
    assert target.outcome.problems == 100


def test_default_access_list_of_the_target_does_not_leak_in(root, open_target):
    root.mkdir()
    subprocess.run(["setfacl", "-d", "-m", "u:12345:rwx", str(root)], check=True)
    target = open_target()
    target.directory(make_node(b"/d", D))
    write_file(target, make_node(b"/d/f"), b"")
    write_file(target, make_node(b"/g"), b"")
    finish(target)
    for name in ("d", "d/f", "g"):
        assert os.listxattr(root / name) == []


def test_warning_is_one_line_where_owners_cannot_be_kept(open_target, events, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    target = open_target()
    for number in range(3):
        write_file(target, make_node(b"/%d" % number, uid=5, gid=5), b"")
    finish(target)
    assert [line.text for line in events.of(LogLine)] == [
        "owners are not restored: that needs root"
    ]
    assert target.outcome.is_complete


def test_policy_is_read_from_text():
    assert Overwrite("if-changed") is Overwrite.IF_CHANGED
    assert isinstance(Path("/"), Path)
