"""Targets that are full, read-only, poor in features or somebody else's (H12, K5, K8, S17)."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.engine.extract_folders import open_root, unlock
from backapp_core.engine.extract_preview import Preview
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.events import LogLine, Recording
from backapp_core.model.entries import EntryKind
from backapp_core.model.restores import Action, Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import make_node, write_file

F, D, L = EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.SYMLINK
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")
STRANGER = 12345


def open_target(root: Path, events=None, **options) -> FolderTarget:
    surroundings = Surroundings(root, root, events=events or Recording())
    return FolderTarget(os.fsencode(root), ExtractOptions(**options), surroundings)


def finish(target: FolderTarget) -> None:
    target.links_follow()
    target.close()


def write_files(target: FolderTarget, count: int, content: bytes) -> None:
    for number in range(count):
        write_file(target, make_node(b"/f%d" % number, size_bytes=len(content)), content)


def make_directories(target: FolderTarget, count: int) -> None:
    for number in range(count):
        target.directory(make_node(b"/d%d" % number, D, mode=0o777))


@contextmanager
def mounted(place: Path, kind: str, options: str = "defaults") -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", options, "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def as_stranger(work: Callable[[], None]) -> None:
    """Run ``work`` in a child without privileges; its assertions count."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            work()
            status = 0
        except BaseException:  # noqa: BLE001  # the child must not run the parent's tests
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def strangers_root(tmp_path):
    """A folder of somebody without privileges, which he can reach."""
    root = Path("/tmp") / f"backapp-test-{os.getpid()}-{time.monotonic_ns()}"
    root.mkdir()
    os.chown(root, STRANGER, STRANGER)
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


# --- full ---------------------------------------------------------------------------------------


def test_full_disk_ends_the_restore_and_leaves_whole_files_only(tmp_path):
    content = os.urandom(300_000)
    with mounted(tmp_path / "small", "tmpfs", "size=2m") as root:
        target = open_target(root)
        with pytest.raises(TargetError) as caught:
            write_files(target, 20, content)
        target.close()
        assert not isinstance(caught.value, EntryNotRestored)
        assert "No space left" in caught.value.message
        left = sorted(path.name for path in root.iterdir())
        assert left == sorted(f"f{number}" for number in range(len(left)))
        assert 3 <= len(left) < 8
        assert all((root / name).read_bytes() == content for name in left)


def test_no_more_inodes_ends_the_restore(tmp_path):
    with mounted(tmp_path / "small", "tmpfs", "size=2m,nr_inodes=20") as root:
        target = open_target(root)
        with pytest.raises(TargetError, match="No space left"):
            write_files(target, 30, b"")
        target.close()
        assert not list(root.glob(".backapp-*"))


def test_no_room_for_directories_ends_the_restore(tmp_path):
    with mounted(tmp_path / "small", "tmpfs", "size=2m,nr_inodes=20") as root:
        target = open_target(root)
        with pytest.raises(TargetError, match="No space left"):
            make_directories(target, 30)
        finish(target)
        # What was begun is left private.
        assert (root / "d0").stat().st_mode & 0o777 == 0o700


def test_file_beyond_the_largest_size_concerns_itself_alone(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    target = open_target(tmp_path / "out")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        file = target.file(make_node(b"/big", size_bytes=200_001))
        assert file is not None
        with pytest.raises(EntryNotRestored, match="File too large"), file:
            file.write_at(200_000, b"x")
        write_file(target, make_node(b"/small", size_bytes=1), b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    finish(target)
    assert os.listdir(tmp_path / "out") == ["small"]
    assert [path for path, _ in target.outcome.not_restored] == [b"/big"]


# --- poor in features ---------------------------------------------------------------------------


def test_missing_attributes_are_reported_once_per_path_and_cost_no_content(tmp_path):
    xattrs = ((b"user.a", b"1"), (b"user.b", b"2"))
    with mounted(tmp_path / "ram", "ramfs", "mode=755") as root:
        target = open_target(root)
        target.directory(make_node(b"/d", D, xattrs=xattrs, mode=0o751))
        write_file(target, make_node(b"/d/f", size_bytes=1, xattrs=xattrs), b"x")
        write_file(target, make_node(b"/d/plain", size_bytes=1), b"y")
        finish(target)
        assert (root / "d/f").read_bytes() == b"x"
        assert (root / "d").stat().st_mode & 0o777 == 0o751
        outcome = target.outcome
        assert [path for path, _ in outcome.incomplete] == [b"/d/f", b"/d"]
        assert all("user.a" in why and "user.b" in why for _, why in outcome.incomplete)
        assert (outcome.files, outcome.not_restored, outcome.problems) == (2, (), 2)
        assert not outcome.is_complete


def test_read_only_file_system_is_refused_at_once(tmp_path):
    with (
        mounted(tmp_path / "ro", "tmpfs", "ro") as root,
        pytest.raises(TargetError, match="read-only"),
    ):
        open_target(root)


def test_file_as_target_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TargetError, match=r"file"):
            open_target(path)
    assert (tmp_path / "file").read_text() == "mine"


def test_rename_without_exclusion_still_replaces_nothing(tmp_path, monkeypatch):
    """Some network file systems refuse the exclusive rename; then the name is looked at first."""
    from backapp_core.engine import extract_parts

    monkeypatch.setattr(extract_parts, "_exclusive_rename", lambda: lambda *names: errno.EINVAL)
    target = open_target(tmp_path / "out")
    target.directory(make_node(b"/d", D))
    write_file(target, make_node(b"/d/f", size_bytes=1), b"1")
    file = target.file(make_node(b"/d/f", size_bytes=1))
    assert file is not None
    with file, pytest.raises(EntryNotRestored):
        file.finish()
    finish(target)
    assert (tmp_path / "out/d/f").read_bytes() == b"1"


# --- somebody else's ----------------------------------------------------------------------------


def test_restore_without_root_keeps_all_but_owners(strangers_root):
    def work() -> None:
        events = Recording()
        target = open_target(strangers_root, events)
        for number in range(50):
            path = b"/d%d" % number
            target.directory(make_node(path, D, mode=0o555, uid=0, gid=0))
            facts = {"mode": 0o444, "uid": 0, "gid": 0, "size_bytes": 1}
            write_file(target, make_node(path + b"/f", xattrs=((b"user.a", b"1"),), **facts), b"x")
        target.links_follow()
        target.special(make_node(b"/d0/s", L, target=b"f", uid=0))
        target.close()
        assert events.problem_paths == []
        assert len(events.of(LogLine)) == 1
        status = (strangers_root / "d0/f").stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (STRANGER, 0o444)
        assert os.getxattr(strangers_root / "d0/f", "user.a") == b"1"
        assert stat.S_IMODE((strangers_root / "d0").stat().st_mode) == 0o555

    as_stranger(work)


def test_changed_file_in_an_own_read_only_directory_is_restored(strangers_root):
    def work() -> None:
        for content in (b"1", b"22"):
            target = open_target(strangers_root)
            target.directory(make_node(b"/d", D, mode=0o555))
            write_file(target, make_node(b"/d/f", size_bytes=len(content)), content)
            finish(target)
            assert target.outcome.is_complete
            assert (strangers_root / "d/f").read_bytes() == content
            assert stat.S_IMODE((strangers_root / "d").stat().st_mode) == 0o555

    as_stranger(work)


def test_directory_that_may_not_be_written_is_reported_per_entry(strangers_root):
    (strangers_root / "locked").mkdir(mode=0o755)
    (strangers_root / "secret").mkdir(mode=0o700)

    def work() -> None:
        target = open_target(strangers_root)
        target.directory(make_node(b"/locked", D))
        assert target.file(make_node(b"/locked/f")) is None
        target.directory(make_node(b"/secret", D))
        assert target.file(make_node(b"/secret/f")) is None
        write_file(target, make_node(b"/fine", size_bytes=1), b"x")
        finish(target)
        refused = dict(target.outcome.not_restored)
        assert list(refused) == [b"/locked/f", b"/secret", b"/secret/f"]
        assert all("Permission denied" in reason for reason in refused.values())
        # Nor can the times and permissions of another's directory be set.
        assert [path for path, _ in target.outcome.incomplete] == [b"/locked"]
        assert (strangers_root / "fine").read_bytes() == b"x"

    as_stranger(work)


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o500])
def test_closed_directory_of_our_own_can_be_restored_again(strangers_root, mode):
    def work() -> None:
        for _ in range(2):
            target = open_target(strangers_root)
            target.directory(make_node(b"/z", D, mode=mode))
            target.directory(make_node(b"/z/d", D, mode=mode))
            file = target.file(make_node(b"/z/d/f", size_bytes=1))
            if file is not None:
                with file:
                    file.write_at(0, b"x")
                    file.finish()
            finish(target)
            assert (target.outcome.not_restored, target.outcome.incomplete) == ((), ())
            assert stat.S_IMODE((strangers_root / "z").stat().st_mode) == mode
        assert target.outcome.kept == 1

    as_stranger(work)
    assert (strangers_root / "z/d/f").read_bytes() == b"x"


def test_preview_does_not_refuse_what_stands_in_a_closed_directory_of_our_own(strangers_root):
    def work() -> None:
        (strangers_root / "z").mkdir(mode=0)
        nodes = [make_node(b"/z", D), make_node(b"/z/f")]
        expected = {Overwrite.ALWAYS: Action.OVERWRITE, Overwrite.NEVER: Action.REFUSE}
        for overwrite, action in expected.items():
            with Preview(strangers_root, overwrite) as preview:
                assert [preview.would(node) for node in nodes] == [Action.KEEP, action]

    as_stranger(work)


def test_closed_directory_stays_closed_where_nothing_is_overwritten(strangers_root):
    def work() -> None:
        (strangers_root / "z").mkdir(mode=0)
        target = open_target(strangers_root, overwrite=Overwrite.NEVER)
        target.directory(make_node(b"/z", D))
        finish(target)
        assert [path for path, _ in target.outcome.not_restored] == [b"/z"]
        assert stat.S_IMODE((strangers_root / "z").stat().st_mode) == 0

    as_stranger(work)


def test_closed_directory_is_not_opened_through_a_link(strangers_root):
    def work() -> None:
        (strangers_root / "elsewhere").mkdir(mode=0)
        (strangers_root / "out").mkdir()
        (strangers_root / "out/z").symlink_to("../elsewhere")
        parent = open_root(os.fsencode(strangers_root / "out"), make=False)
        assert not unlock(parent, b"z")
        assert not unlock(parent, b"missing")
        assert stat.S_IMODE((strangers_root / "elsewhere").stat().st_mode) == 0

    as_stranger(work)


def test_asking_for_owners_without_root_is_reported_per_entry(strangers_root):
    def work() -> None:
        target = open_target(strangers_root, owners=True)
        write_file(target, make_node(b"/f", size_bytes=1, uid=0, gid=0, mode=0o4755), b"x")
        finish(target)
        assert [path for path, _ in target.outcome.incomplete] == [b"/f"]
        assert (strangers_root / "f").stat().st_mode & 0o7777 == 0o755

    as_stranger(work)


# --- dangerous metadata -------------------------------------------------------------------------


CAPABILITY = (b"security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))


def test_root_keeps_set_id_bits_devices_and_capabilities(tmp_path):
    root = tmp_path / "out"
    target = open_target(root)
    target.directory(make_node(b"/d", D, mode=0o3775, gid=5))
    write_file(target, make_node(b"/d/su", mode=0o6755, uid=7, gid=8), b"")
    write_file(target, make_node(b"/d/cap", mode=0o755, uid=7, xattrs=(CAPABILITY,)), b"")
    target.links_follow()
    target.special(make_node(b"/d/null", EntryKind.CHAR_DEVICE, mode=0o666, rdev=0x103, uid=9))
    target.special(make_node(b"/d/socket", EntryKind.SOCKET, mode=0o600, gid=9))
    target.close()
    assert target.outcome.is_complete
    assert target.outcome.withheld == 0
    assert (root / "d").stat().st_mode & 0o7777 == 0o3775
    status = (root / "d/su").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o6755, 7, 8)
    assert os.getxattr(root / "d/cap", CAPABILITY[0]) == CAPABILITY[1]
    device = (root / "d/null").lstat()
    assert stat.S_ISCHR(device.st_mode)
    assert (device.st_rdev, device.st_uid, device.st_mode & 0o777) == (0x103, 9, 0o666)
    assert stat.S_ISSOCK((root / "d/socket").lstat().st_mode)


def test_privileges_are_withheld_unless_asked_for(tmp_path):
    root = tmp_path / "out"
    events = Recording()
    target = open_target(root, events, special=False)
    target.directory(make_node(b"/d", D, mode=0o3775))
    xattrs = (CAPABILITY, (b"trusted.x", b"1"), (b"user.y", b"2"))
    write_file(target, make_node(b"/d/f", mode=0o6755, xattrs=xattrs), b"")
    target.links_follow()
    target.special(make_node(b"/d/null", EntryKind.CHAR_DEVICE, rdev=0x103))
    target.close()
    assert (root / "d").stat().st_mode & 0o7777 == 0o1775
    assert (root / "d/f").stat().st_mode & 0o7777 == 0o755
    assert os.listxattr(root / "d/f") == ["user.y"]
    assert not (root / "d/null").exists()
    outcome = target.outcome
    assert (outcome.withheld, outcome.incomplete) == (2, ())
    assert [path for path, _ in outcome.not_restored] == [b"/d/null"]
    assert [line.text.split()[0] for line in events.of(LogLine)] == ["2"]


def test_set_id_bits_do_not_go_to_another_owner(tmp_path):
    """Root who restores without owners would make every set-id program one of root's."""
    root = tmp_path / "out"
    target = open_target(root, owners=False, special=True)
    write_file(target, make_node(b"/su", mode=0o4755, uid=1000), b"")
    write_file(target, make_node(b"/mine", mode=0o4755), b"")
    finish(target)
    assert (root / "su").stat().st_mode & 0o7777 == 0o755
    assert (root / "mine").stat().st_mode & 0o7777 == 0o4755
    assert target.outcome.withheld == 1


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    root = tmp_path / "out"
    before = os.umask(umask)
    try:
        target = open_target(root)
        target.directory(make_node(b"/d", D, mode=0o777))
        file = target.file(make_node(b"/d/f", mode=0o666))
        assert (root / "d").stat().st_mode & 0o077 == 0
        assert file is not None
        file.finish()
        target.links_follow()
        target.special(make_node(b"/d/p", EntryKind.FIFO, mode=0o666))
        target.close()
    finally:
        os.umask(before)
    assert root.stat().st_mode & 0o077 == 0
    modes = [(root / name).stat().st_mode & 0o777 for name in ("d", "d/f", "d/p")]
    assert modes == [0o777, 0o666, 0o666]


def test_unfinished_file_is_out_of_reach_of_others(tmp_path):
    """By itself where its folder was there before, by its folder where that is new."""
    root = tmp_path / "out"
    (root / "old").mkdir(parents=True, mode=0o777)
    target = open_target(root)
    for folder in (b"/old", b"/new"):
        target.directory(make_node(folder, D, mode=0o777))
        file = target.file(make_node(folder + b"/f", mode=0o4777))
        (part,) = (root / os.fsdecode(folder[1:])).iterdir()
        reach = part.stat().st_mode & part.parent.stat().st_mode
        assert reach & 0o077 == part.stat().st_mode & 0o7000 == 0
        assert file is not None
        file.finish()
    finish(target)
    modes = [(root / name).stat().st_mode & 0o7777 for name in ("old", "new", "old/f", "new/f")]
    set_id = 0o4000 if os.geteuid() == 0 else 0
    assert modes == [0o777, 0o777, 0o777 | set_id, 0o777 | set_id]


# --- killed -------------------------------------------------------------------------------------

VICTIM = """
import os, sys
from pathlib import Path
from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.model.entries import EntryKind
from backapp_core.model.restores import Action, Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import make_node, write_file
surroundings = Surroundings(Path("/"), Path("/"))
target = FolderTarget(os.fsencode(sys.argv[1]), ExtractOptions(), surroundings)
print("ready", flush=True)
for number in range(100_000):
    if number % 100 == 0:
        target.directory(make_node(b"/d%d" % (number // 100), EntryKind.DIRECTORY))
    content = bytes([number % 251]) * 50_000
    file = target.file(make_node(b"/d%d/f%d" % (number // 100, number), size_bytes=50_000))
    for offset in range(0, 50_000, 10_000):
        file.write_at(offset, content[offset : offset + 10_000])
    file.finish()
"""


@pytest.mark.parametrize("after_seconds", [0.02, 0.2])
def test_killed_restore_leaves_whole_files_and_marked_parts_only(tmp_path, after_seconds):
    root = tmp_path / "out"
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, root], stdout=subprocess.PIPE)
    assert victim.stdout is not None
    victim.stdout.readline()
    time.sleep(after_seconds)
    victim.kill()
    assert victim.wait() == -9
    victim.stdout.close()
    whole = 0
    for path in root.rglob("*"):
        if path.is_dir():
            assert path.stat().st_mode & 0o777 == 0o700
        elif not path.name.startswith(".backapp-"):
            number = int(path.name[1:])
            assert path.read_bytes() == bytes([number % 251]) * 50_000
            whole += 1
    assert whole > 0
    target = open_target(root)
    for folder in sorted(path.name for path in root.iterdir() if path.is_dir()):
        target.directory(make_node(b"/" + folder.encode(), D))
    finish(target)
    assert not list(root.rglob(".backapp-*"))
