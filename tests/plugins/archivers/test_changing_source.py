"""Sources that change, shrink, vanish or fail under the hands of a backup."""

import os
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from backapp_core.clock import SystemClock
from backapp_core.engine.scan_ahead import ahead_of
from backapp_core.errors import EntryUnreadable
from backapp_core.model.entries import Entry
from backapp_core.model.jobs import BackupOptions
from backapp_core.ports.scanners import FoundDirectory, OpenedFile
from backapp_core.testing.hooked_scanner import Hook, HookedDirectory, HookedScanner


def _back_up(bench, hook: Hook):
    scanner = HookedScanner(bench.scanner(), hook)
    options = BackupOptions(hostname="host", username="user")
    return bench.repository.backup(scanner, options).snapshot


def _content(bench, snapshot, name: bytes) -> bytes:
    path = os.fsencode(bench.source) + b"/" + name
    (node,) = (node for node in bench.repository.nodes(snapshot) if node.path == path)
    data = b"".join(bench.repository.read(snapshot, node))
    assert len(data) == node.size_bytes
    return data


SMALL, LARGE = 5000, 9_000_000
"""One that every archiver reads at once, and one that none does."""


def _append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"more")


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _rewrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"other")


def _replace(file: Path) -> None:
    file.unlink()
    file.write_bytes(b"another file")


CHANGES = (_append, _cut, _empty, _rewrite, _replace)


class Changing:
    """A hook that changes ``file`` before it is opened or read for the time ``number``.

    Reading the same again, and more of it, since no chunk ended there, does not count.
    """

    def __init__(self, file: Path, change: Callable[[Path], None], at: str, number: int) -> None:
        self._file = file
        self._change = change
        self._at = at
        self._left = number
        self._offset = -1
        self.offset = -1
        """Where it was to be read when it changed."""

    def __call__(self, what: str, path: bytes, offset: int) -> None:
        is_again = what == "read" and offset == self._offset
        if path == os.fsencode(self._file) and what == self._at and not is_again:
            self._offset = offset
            self._left -= 1
            if self._left == 0:
                self.offset = offset
                self._change(self._file)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_it_is_opened_is_kept_as_it_is_then(any_bench, size, change):
    file = any_bench.source / "file"
    file.write_bytes(random.Random(1).randbytes(size))
    snapshot = _back_up(any_bench, Changing(file, change, "open", 1))
    assert _content(any_bench, snapshot, b"file") == file.read_bytes()
    assert any_bench.recording.problem_paths == []
    assert snapshot.counts.problems == 0
    facts = any_bench.facts()
    assert any_bench.differences(any_bench.back_up(), facts) == []


@pytest.mark.parametrize(
    ("size", "number"), [(SMALL, 1), (LARGE, 1), (LARGE, 2)], ids=["small", "first", "second"]
)
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_kept_as_read_and_reported(
    any_bench, size, number, change
):
    file = any_bench.source / "file"
    original = random.Random(1).randbytes(size)
    file.write_bytes(original)
    (any_bench.source / "last").write_bytes(b"comes after it")
    hook = Changing(file, change, "read", number)
    snapshot = _back_up(any_bench, hook)
    stored = _content(any_bench, snapshot, b"file")
    done = hook.offset
    assert (done > 0) == (number > 1)
    kept = {_cut: max(done, size // 3), _empty: done}.get(change, size)
    assert len(stored) == kept
    replaced = 5 if change is _rewrite and number == 1 else 0
    assert stored[replaced:] == original[replaced:kept]
    assert _content(any_bench, snapshot, b"last") == b"comes after it"
    assert any_bench.recording.problem_paths == [os.fsencode(file)]
    assert snapshot.counts.problems == 1
    assert any_bench.repository.check(read_data=True).findings == ()
    # The next backup reads it again and has it right.
    facts = any_bench.facts()
    assert any_bench.differences(any_bench.back_up(), facts) == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("number", [1, 2], ids=["first", "second"])
def test_a_medium_that_fails_costs_that_file_and_is_told_each_time(any_bench, size, number):
    for name in ("before", "file", "later"):
        (any_bench.source / name).write_bytes(random.Random(name).randbytes(size))

    def hook(what: str, path: bytes, at: int) -> None:
        if what == "read" and path.endswith(b"/file") and (at > 0) == (number > 1):
            raise EntryUnreadable("the disk has a bad spot")

    fails = size == LARGE or number == 1
    for time in (1, 2):
        snapshot = _back_up(any_bench, hook)
        assert snapshot.counts.problems == (1 if fails else 0)
        assert len(any_bench.recording.problem_paths) == (time if fails else 0)
        for name in (b"before", b"later"):
            wanted = (any_bench.source / name.decode()).read_bytes()
            assert _content(any_bench, snapshot, name) == wanted
    assert any_bench.repository.check(read_data=True).findings == ()
    facts = any_bench.facts()
    assert any_bench.differences(any_bench.back_up(), facts) == []


@pytest.mark.parametrize("name", ["file", "folder", "empty folder", "source"])
def test_attributes_that_cannot_be_read_are_told_each_time(any_bench, name):
    source = any_bench.source
    (source / "folder").mkdir()
    (source / "empty folder").mkdir()
    for path in (source / "file", source / "folder" / "below"):
        path.write_bytes(b"1")
    os.setxattr(source.parent / name if name == "source" else source / name, "user.note", b"n")
    facts = any_bench.facts()

    def hook(what: str, path: bytes, _at: int) -> None:
        if what == "attributes" and path.endswith(b"/" + name.encode()):
            raise EntryUnreadable("attributes cannot be read")

    for _ in range(2):
        assert _back_up(any_bench, hook).counts.problems == 1
    assert any_bench.differences(any_bench.back_up(), facts) == []


def test_no_change_is_missed_when_ctime_tells(any_bench):
    """500 files changed in ways that keep size and mtime, some with an inode used again."""
    rng = random.Random(5)
    paths = [any_bench.source / f"{number:03}" for number in range(500)]
    for path in paths:
        path.write_bytes(rng.randbytes(64))
    any_bench.back_up()
    for path in paths:
        before = path.stat()
        way = rng.randrange(4)
        if way == 0:
            path.write_bytes(rng.randbytes(64))
        elif way == 1:
            path.unlink()
            path.write_bytes(rng.randbytes(64))
        elif way == 2:
            other = any_bench.source / "new"
            other.write_bytes(rng.randbytes(64))
            other.rename(path)
        else:
            path.write_bytes(rng.randbytes(200))
        times = before.st_mtime_ns - (10**9 if way == 3 else 0)
        os.utime(path, ns=(times, times))
        assert path.stat().st_ctime_ns != before.st_ctime_ns
    facts = any_bench.facts()
    assert any_bench.differences(any_bench.back_up(), facts) == []


class _CoarseDirectory(HookedDirectory):
    """A directory of a file system whose times are whole seconds."""

    def __init__(self, inner: FoundDirectory) -> None:
        super().__init__(inner, lambda *_: None)
        self.entry = _coarse(inner.entry)
        self.entries = [_coarse(entry) for entry in inner.entries]

    @override
    def open(self, entry: Entry) -> OpenedFile:
        file = super().open(entry)
        file.entry = _coarse(file.entry)
        return file


class _CoarseScanner(HookedScanner):
    @override
    def scan(self) -> Iterator[FoundDirectory]:
        return (_CoarseDirectory(found) for found in self.inner.scan())


def _coarse(entry: Entry) -> Entry:
    second = 1_000_000_000
    return entry._replace(ctime_ns=entry.ctime_ns // second * second)


def test_a_change_within_the_same_second_of_a_coarse_clock_is_caught(any_workbench):
    bench = any_workbench(clock=SystemClock())
    file, link, folder = bench.source / "file", bench.source / "link", bench.source / "folder"
    options = BackupOptions(hostname="host", username="user")
    unseen = 0
    folder.mkdir()
    for number in range(25):
        before = file.stat().st_ctime_ns if number else 0
        file.write_bytes(b"%08d" % number)
        os.utime(file, ns=(1, 1))
        link.unlink(missing_ok=True)
        link.symlink_to(f"{number:08}")
        os.setxattr(folder, "user.number", b"%d" % number)
        os.utime(bench.source, ns=(1, 1))
        unseen += before // 10**9 == file.stat().st_ctime_ns // 10**9
        facts = bench.facts()
        scanner = _CoarseScanner(bench.scanner(), lambda *_: None)
        snapshot = bench.repository.backup(scanner, options).snapshot
        assert bench.differences(snapshot, facts) == []
    assert unseen > 0


def test_everything_is_read_again_when_asked(any_bench):
    (any_bench.source / "file").write_bytes(b"12345")
    any_bench.back_up()
    assert any_bench.back_up().counts.read_bytes == 0
    assert any_bench.back_up(rereads_all=True).counts.read_bytes == 5


def test_a_snapshot_is_as_old_as_what_was_looked_at_for_it(any_bench):
    (any_bench.source / "file").write_bytes(b"12345")
    scanner = any_bench.scanner()
    scanner.began_at = any_bench.surroundings.clock.now() - timedelta(minutes=1)
    options = BackupOptions(hostname="host", username="user")
    snapshot = any_bench.repository.backup(scanner, options).snapshot
    assert snapshot.taken_at == scanner.began_at


def test_what_changes_after_it_was_looked_at_ahead_is_in_the_next_backup(any_workbench):
    bench = any_workbench(clock=SystemClock())
    options = BackupOptions(hostname="host", username="user")
    file = bench.source / "file"
    for number in range(3):
        file.write_bytes(b"before %d" % number)
        os.utime(file, ns=(1, 1))
        ahead = ahead_of(bench.surroundings, lambda around: bench.scanner(surroundings=around))
        ahead.begin()
        ahead.rest()
        file.write_bytes(b"behind %d" % number)
        os.utime(file, ns=(1, 1))
        bench.repository.backup(ahead, options)
        facts = bench.facts()
        assert bench.differences(bench.back_up(), facts) == []
