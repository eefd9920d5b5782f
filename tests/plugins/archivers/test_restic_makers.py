"""Restores with further processes come to the same, and lose nothing when one of those ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import RunCancelled, TargetError
from backapp_core.events import FileDone, LogLine, Problem
from backapp_core.model.restores import Overwrite, RestoreOutcome
from backapp_core.ports.surroundings import CancelToken
from backapp_core.ports.targets import Everything
from backapp_core.testing.faults import flip_bit
from backapp_core.testing.hostile_tree import hostile_tree
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.trees import TreeNode, encode_node, join_nodes
from backapp_plugins.archivers.restic.restore import makers, restoring, window
from backapp_plugins.archivers.restic.restore.window import WindowsAhead
from backapp_plugins.archivers.restic.workers.worker import Worker
from backapp_plugins.transports.folder.transport import FolderTransport

if sys.platform == "win32":
    pytest.skip("workers are started where sockets can be inherited", allow_module_level=True)

FOLDERS, FILES = 12, 40


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch, watched_workers):
    """Have restores start workers at the first occasion."""
    monkeypatch.setattr(makers, "_WORTH_WORKERS_BYTES", 1)
    send = Worker.send

    def counted(worker: Worker, message: object, descriptors) -> None:
        watched_workers.jobs += 1
        send(worker, message, descriptors)

    monkeypatch.setattr(Worker, "send", counted)
    return watched_workers


@pytest.fixture
def place(by_hand, tmp_path):
    """Return a function that opens the repository where it is on this machine."""

    def open_(**changes):
        folder = tmp_path / "repository"
        by_hand.write_out(folder)
        return by_hand.reach(FolderTransport(folder, by_hand.surroundings), **changes)

    return open_


@pytest.fixture
def tree(by_hand) -> bytes:
    """Store many small files in several folders, and one that is cut into pieces."""
    folders = {}
    for folder in range(FOLDERS):
        blobs = [content_of(folder, number) for number in range(FILES)]
        by_hand.pack(*blobs)
        folders[f"{folder:02}"] = by_hand.tree({f"{at:02}": (one,) for at, one in enumerate(blobs)})
    by_hand.pack(b"begin", b"end")
    return by_hand.tree({"cut": (b"begin", b"end"), "empty": ()}, folders)


def content_of(folder: int, number: int) -> bytes:
    return b"%d/%d " % (folder, number) * (number * 7 + 1)


def restore(place, tree: bytes, top: Path, **options) -> RestoreOutcome:
    target = FolderTarget(os.fsencode(top), ExtractOptions(**options), place.surroundings)
    try:
        restoring.restore(place, place.load_index(), tree, target, Everything())
    finally:
        target.close()
    return target.outcome


def require_whole(top: Path, outcome: RestoreOutcome) -> None:
    assert outcome.problems == 0
    assert outcome.files == FOLDERS * FILES + 2
    assert outcome.directories == FOLDERS
    for folder in range(FOLDERS):
        for number in range(FILES):
            path = top / f"{folder:02}" / f"{number:02}"
            assert path.read_bytes() == content_of(folder, number)
    assert (top / "cut").read_bytes() == b"beginend"
    require_tidy(top)


def require_tidy(top: Path) -> None:
    assert [path for path in top.rglob("*") if path.name.startswith(".backapp-")] == []


def test_a_hostile_tree_comes_back_with_workers(restic_workbench, quick_folder, watched):
    probe = restic_workbench()
    transport = FolderTransport(quick_folder / "repository", probe.surroundings)
    bench = restic_workbench(transport=transport)
    hostile_tree().write(bench.source)
    facts = bench.facts()
    snapshot = bench.back_up(repository=bench.open(threads=1))
    assert bench.differences(snapshot, facts, repository=bench.open(threads=1)) == []
    assert not watched.jobs
    assert bench.differences(snapshot, facts) == []
    assert watched.jobs
    assert watched.are_gone


def test_files_are_made_by_workers_and_none_of_those_is_left(place, tree, tmp_path, watched):
    opened = place()
    before = len(os.listdir("/proc/self/fd"))
    require_whole(tmp_path / "out", restore(opened, tree, tmp_path / "out"))
    assert watched.jobs
    assert len(watched.workers) == 2
    assert watched.are_gone
    assert len(os.listdir("/proc/self/fd")) <= before + 8


def test_every_file_is_told_of_once(place, by_hand, tree, tmp_path, watched):
    restore(place(), tree, tmp_path / "out", reports_files=True)
    paths = [one.path for one in by_hand.recording.of(FileDone)]
    assert watched.jobs
    assert len(paths) == len(set(paths)) == FOLDERS * FILES + 2


def test_what_comes_next_is_looked_at_while_workers_are_busy(
    place, tree, tmp_path, watched, monkeypatch
):
    monkeypatch.setattr(makers, "_MOST_AHEAD", 1)
    monkeypatch.setattr(window, "_STRETCH_STEPS", 3)
    for constant in ("_FIRST_WINDOW_SIZE", "_WINDOW_SIZE"):
        monkeypatch.setattr(window, constant, FILES + 1)
    gathered: list[bool] = []
    go_on, take = WindowsAhead.go_on, WindowsAhead.take

    def noted(windows: WindowsAhead) -> bool:
        was_anything = go_on(windows)
        gathered.append(was_anything)
        return was_anything

    def not_noted(windows: WindowsAhead):
        with monkeypatch.context() as inner:
            inner.setattr(WindowsAhead, "go_on", go_on)
            return take(windows)

    monkeypatch.setattr(WindowsAhead, "go_on", noted)
    monkeypatch.setattr(WindowsAhead, "take", not_noted)
    require_whole(tmp_path / "out", restore(place(), tree, tmp_path / "out"))
    assert watched.jobs
    assert any(gathered)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_nothing_is_lost_or_repeated_when_workers_end_while_the_next_window_is_gathered(
    place, by_hand, tree, tmp_path, watched, monkeypatch, is_stopped
):
    cancel = CancelToken()
    monkeypatch.setattr(makers, "_MOST_AHEAD", 1)
    monkeypatch.setattr(window, "_STRETCH_STEPS", 3)
    for constant in ("_FIRST_WINDOW_SIZE", "_WINDOW_SIZE"):
        monkeypatch.setattr(window, constant, FILES + 1)
    hand_out = makers.Makers.hand_out
    struck: list[bool] = []

    def interrupted(self, job, meanwhile):
        def gather() -> bool:
            is_ahead = meanwhile()
            if is_ahead and not struck:
                struck.append(True)
                watched.kill()
                if is_stopped:
                    cancel.cancel()
            return is_ahead

        return hand_out(self, job, gather)

    monkeypatch.setattr(makers.Makers, "hand_out", interrupted)
    top = tmp_path / "out"
    if is_stopped:
        with pytest.raises(RunCancelled):
            restore(place(cancel=cancel), tree, top)
        require_tidy(top)
    outcome = restore(place(), tree, top, reports_files=True, overwrite=Overwrite.ALWAYS)
    require_whole(top, outcome)
    paths = [event.path for event in by_hand.recording.of(FileDone)]
    assert len(paths) == len(set(paths)) == FOLDERS * FILES + 2
    assert struck
    assert watched.are_gone


def test_one_thread_means_no_workers(place, tree, tmp_path, watched):
    require_whole(tmp_path / "out", restore(place(threads=1), tree, tmp_path / "out"))
    assert not watched.workers


def test_little_is_restored_without_workers(place, tree, tmp_path, watched, monkeypatch):
    monkeypatch.setattr(makers, "_WORTH_WORKERS_BYTES", 32 << 20)
    require_whole(tmp_path / "out", restore(place(), tree, tmp_path / "out"))
    assert not watched.workers


def test_what_was_there_before_is_dealt_with_as_without_workers(place, tree, tmp_path, watched):
    top = tmp_path / "out"
    restore(place(), tree, top)
    jobs = watched.jobs
    (top / "03/07").write_text("changed")
    (top / "04/08").unlink()
    outcome = restore(place(), tree, top, overwrite=Overwrite.IF_CHANGED)
    assert watched.jobs == jobs
    assert (outcome.files, outcome.kept) == (2, FOLDERS * FILES)
    assert (top / "03/07").read_bytes() == content_of(3, 7)
    assert (top / "04/08").read_bytes() == content_of(4, 8)


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false"])
def test_where_no_worker_can_be_started_the_restore_goes_on_without(
    place, tree, tmp_path, watched, monkeypatch, interpreter
):
    monkeypatch.setattr(sys, "executable", interpreter)
    require_whole(tmp_path / "out", restore(place(), tree, tmp_path / "out"))
    assert not watched.jobs


@pytest.mark.parametrize("after", [1, 2, 5])
def test_workers_that_are_killed_under_way_cost_nothing(
    place, by_hand, tree, tmp_path, watched, monkeypatch, after
):
    send = Worker.send

    def killed(worker: Worker, message: object, descriptors) -> None:
        send(worker, message, descriptors)
        if watched.jobs == after:
            watched.kill()

    monkeypatch.setattr(Worker, "send", killed)
    require_whole(tmp_path / "out", restore(place(), tree, tmp_path / "out"))
    assert watched.jobs >= after
    said = [one.text for one in by_hand.recording.of(LogLine)]
    assert any("was killed by signal 9" in one and "goes on without it" in one for one in said)


def test_what_a_killed_worker_had_made_is_made_again(place, tree, tmp_path, watched, monkeypatch):
    settle = makers.Makers._settle

    def lose_the_answer(self, handed_out, made):
        if watched.workers[0] in self._waiting:
            self._waiting[watched.workers[0]].appendleft(handed_out)
            yield from self._lose(watched.workers[0])
        else:
            yield from settle(self, handed_out, made)

    monkeypatch.setattr(makers.Makers, "_settle", lose_the_answer)
    monkeypatch.setattr(makers, "_MOST_AHEAD", 1)
    outcome = restore(place(threads=2), tree, tmp_path / "out")
    assert watched.jobs
    require_whole(tmp_path / "out", outcome)


def test_a_damaged_file_is_reported_once_and_the_rest_comes_back(
    place, by_hand, tree, tmp_path, watched
):
    opened = place()
    path = tmp_path / "repository" / _pack_of(opened, content_of(5, 0))
    path.write_bytes(flip_bit(path.read_bytes(), 150))
    outcome = restore(opened, tree, tmp_path / "out")
    assert watched.jobs
    [(lost, reason)] = outcome.not_restored
    assert "is lost" in reason
    assert [one.path for one in by_hand.recording.of(Problem)] == [lost] == [b"/05/00"]
    assert outcome.files == FOLDERS * FILES + 1
    assert not (tmp_path / "out/05/00").exists()
    require_tidy(tmp_path / "out")


def _pack_of(place, content: bytes) -> str:
    [location] = place.load_index().locations(BlobKind.DATA, id_of(content))
    return pack_name(location.pack_id)


def test_a_pack_that_is_gone_costs_its_files_alone(place, by_hand, tree, tmp_path, watched):
    opened = place()
    (tmp_path / "repository" / _pack_of(opened, content_of(5, 0))).unlink()
    outcome = restore(opened, tree, tmp_path / "out")
    assert watched.jobs
    assert len(outcome.not_restored) == len({path for path, _ in outcome.not_restored}) == FILES
    assert outcome.files == (FOLDERS - 1) * FILES + 2


def test_a_file_that_the_system_does_not_take_is_reported_once(place, by_hand, tmp_path, watched):
    by_hand.pack(b"content")
    names = ["n" * 255, "n" * 256, "short"]
    nodes = [
        TreeNode(name=name, type="file", size=7, content=[id_of(b"content").hex()])
        for name in names
    ]
    below = join_nodes(map(encode_node, nodes))
    by_hand.pack(below, kind=BlobKind.TREE)
    tree = by_hand.tree({}, {"d": id_of(below)})
    outcome = restore(place(), tree, tmp_path / "out")
    assert watched.jobs
    assert [path for path, _ in outcome.not_restored] == [b"/d/" + b"n" * 256]
    assert outcome.files == 2
    assert sorted(os.listdir(tmp_path / "out/d")) == ["n" * 255, "short"]


def test_zeros_become_holes(place, by_hand, tmp_path, watched):
    zeros = bytes(1 << 20)
    by_hand.pack(zeros, b"\0tail")
    tree = by_hand.tree({}, {"d": by_hand.tree({"hole": (zeros,), "not": (b"\0tail",)})})
    restore(place(), tree, tmp_path / "out")
    assert watched.jobs
    found = (tmp_path / "out/d/hole").stat()
    assert (found.st_size, found.st_blocks) == (1 << 20, 0)
    assert (tmp_path / "out/d/not").read_bytes() == b"\0tail"


def test_content_that_many_files_share_is_restored_here(place, by_hand, tmp_path, watched):
    by_hand.pack(b"shared", b"another")
    folders = {
        f"{folder:03}": by_hand.tree({"a": (b"shared",), "b": (b"another",)}, {"x": _leaf(by_hand)})
        for folder in range(60)
    }
    tree = by_hand.tree({}, folders)
    outcome = restore(place(), tree, tmp_path / "out")
    assert not watched.jobs
    assert (outcome.files, outcome.problems) == (180, 0)
    assert (tmp_path / "out/059/x/leaf").read_bytes() == b"leaf"


def _leaf(by_hand) -> bytes:
    by_hand.pack(b"leaf")
    return by_hand.tree({"leaf": (b"leaf",)})


@pytest.mark.parametrize(("allowed", "threads"), [(1024, 2), (200, 2), (400, 1)])
def test_many_folders_with_a_file_each_need_few_descriptors(
    place, by_hand, tmp_path, watched, monkeypatch, allowed, threads
):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    blobs = [b"blob %d" % number for number in range(600)]
    by_hand.pack(*blobs)
    folders = {f"{at:03}": by_hand.tree({"f": (blob,)}) for at, blob in enumerate(blobs)}
    # Other tests of this process may have left some open.
    already = most = len(os.listdir("/proc/self/fd"))
    send = Worker.send

    def counted(worker: Worker, message: object, descriptors) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        send(worker, message, descriptors)

    monkeypatch.setattr(Worker, "send", counted)
    tree, opened = by_hand.tree({}, folders), place(threads=threads)
    resource.setrlimit(resource.RLIMIT_NOFILE, (already + allowed, before[1]))
    try:
        outcome = restore(opened, tree, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (outcome.files, outcome.problems) == (600, 0)
    assert watched.jobs > 4 or threads == 1
    assert most - already < min(allowed, 500) * 0.75


def test_a_restore_that_is_stopped_leaves_no_worker_and_nothing_unfinished(
    place, tree, tmp_path, watched, monkeypatch
):
    cancel = CancelToken()
    send = Worker.send

    def stop(worker: Worker, message: object, descriptors) -> None:
        send(worker, message, descriptors)
        cancel.cancel()

    monkeypatch.setattr(Worker, "send", stop)
    with pytest.raises(RunCancelled):
        restore(place(cancel=cancel), tree, tmp_path / "out")
    assert watched.jobs
    assert watched.are_gone
    require_tidy(tmp_path / "out")
    monkeypatch.undo()
    outcome = restore(place(), tree, tmp_path / "out")
    assert outcome.files + outcome.kept == FOLDERS * FILES + 2


def test_a_restore_that_fails_elsewhere_leaves_no_worker(
    place, tree, tmp_path, watched, monkeypatch
):
    def refuse(*_: object) -> None:
        raise TargetError("target cannot be written any more")

    monkeypatch.setattr(makers.Makers, "_settle", refuse)
    with pytest.raises(TargetError):
        restore(place(), tree, tmp_path / "out")
    assert watched.workers
    assert watched.are_gone
    require_tidy(tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
def test_a_full_disk_ends_the_restore_and_leaves_nothing_unfinished(
    place, by_hand, tmp_path, watched
):
    disk = tmp_path / "disk"
    disk.mkdir()
    blobs = [os.urandom(20_000) for _ in range(200)]
    by_hand.pack(*blobs)
    tree = by_hand.tree({}, {"d": by_hand.tree({f"{at}": (one,) for at, one in enumerate(blobs)})})
    opened = place()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "tmpfs", disk], check=True)
    try:
        with pytest.raises(TargetError, match="No space left"):
            restore(opened, tree, disk / "out")
        assert watched.jobs
        assert watched.are_gone
        require_tidy(disk)
    finally:
        # What was raised still knows the target.
        subprocess.run(["umount", "--lazy", disk], check=True)
