"""Sources that change, shrink, vanish or fail under the hands of a backup."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from typing_extensions import override

from backapp_core.clock import SystemClock
from backapp_core.errors import EntryUnreadable
from backapp_core.model.entries import Entry, Extent
from backapp_core.model.jobs import BackupOptions
from backapp_core.ports.scanners import FoundDirectory, OpenedFile, Scanner

Hook = Callable[[str, bytes, int], None]
"""Told of what happens next (``open``, ``read``), to which path, at which offset."""


class HookedScanner(Scanner):
    """Another scanner, with a hook before every file is opened and every piece is read."""

    def __init__(self, inner: Scanner, hook: Hook) -> None:
        self._inner = inner
        self._hook = hook
        self.roots = inner.roots

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        return (_HookedDirectory(found, self._hook) for found in self._inner.scan())

    @override
    def user_name(self, uid: int) -> str:
        return self._inner.user_name(uid)

    @override
    def group_name(self, gid: int) -> str:
        return self._inner.group_name(gid)

    @property
    @override
    def problems(self) -> int:
        return self._inner.problems


class _HookedDirectory(FoundDirectory):
    def __init__(self, inner: FoundDirectory, hook: Hook) -> None:
        self._inner = inner
        self._hook = hook
        self.path, self.entry, self.entries = inner.path, inner.entry, inner.entries

    @override
    def open(self, entry: Entry) -> OpenedFile:
        path = os.path.join(self.path, entry.name)
        self._hook("open", path, 0)
        return _HookedFile(self._inner.open(entry), path, self._hook)

    @override
    def attributes(self, entry: Entry | None) -> tuple[tuple[bytes, bytes], ...]:
        self._hook("attributes", self.path if entry is None else entry.name, 0)
        return self._inner.attributes(entry)

    @override
    def link_target(self, entry: Entry) -> bytes:
        return self._inner.link_target(entry)

    @override
    def close(self) -> None:
        self._inner.close()


class _HookedFile(OpenedFile):
    def __init__(self, inner: OpenedFile, path: bytes, hook: Hook) -> None:
        self._inner = inner
        self._path = path
        self._hook = hook
        self.entry = inner.entry

    @override
    def extents(self) -> Sequence[Extent] | None:
        return self._inner.extents()

    @override
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        self._hook("read", self._path, offset)
        return self._inner.read_at(offset, length_bytes)

    @override
    def has_changed(self) -> bool:
        return self._inner.has_changed()

    @override
    def close(self) -> None:
        self._inner.close()


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


SMALL, LARGE = 5000, 3_300_000


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


def _changing(file: Path, change: Callable[[Path], None], *, at: str, number: int) -> Hook:
    """Return a hook that changes ``file`` before it is opened or read for the time ``number``."""
    left = number

    def hook(what: str, path: bytes, _offset: int) -> None:
        nonlocal left
        if path == os.fsencode(file) and what == at:
            left -= 1
            if left == 0:
                change(file)

    return hook


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_it_is_opened_is_kept_as_it_is_then(bench, size, change):
    file = bench.source / "file"
    file.write_bytes(random.Random(1).randbytes(size))
    snapshot = _back_up(bench, _changing(file, change, at="open", number=1))
    assert _content(bench, snapshot, b"file") == file.read_bytes()
    assert bench.recording.problem_paths == []
    assert snapshot.counts.problems == 0
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []


@pytest.mark.parametrize(
    ("size", "number"), [(SMALL, 1), (LARGE, 1), (LARGE, 2)], ids=["small", "first", "second"]
)
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_kept_as_read_and_reported(
    bench, size, number, change
):
    file = bench.source / "file"
    original = random.Random(1).randbytes(size)
    file.write_bytes(original)
    (bench.source / "last").write_bytes(b"comes after it")
    snapshot = _back_up(bench, _changing(file, change, at="read", number=number))
    stored = _content(bench, snapshot, b"file")
    done = (number - 1) << 20
    kept = {_cut: max(done, size // 3), _empty: done}.get(change, size)
    assert len(stored) == kept
    replaced = 5 if change is _rewrite and number == 1 else 0
    assert stored[replaced:] == original[replaced:kept]
    assert _content(bench, snapshot, b"last") == b"comes after it"
    assert bench.recording.problem_paths == [os.fsencode(file)]
    assert snapshot.counts.problems == 1
    assert bench.repository.check(read_data=True).findings == ()
    # The next backup reads it again and has it right.
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("offset", [0, 1 << 20])
def test_a_medium_that_fails_costs_that_file_and_is_told_each_time(bench, size, offset):
    for name in ("before", "file", "later"):
        (bench.source / name).write_bytes(random.Random(name).randbytes(size))

    def hook(what: str, path: bytes, at: int) -> None:
        if what == "read" and path.endswith(b"/file") and at == offset:
            raise EntryUnreadable("the disk has a bad spot")

    fails = size > offset
    for number in (1, 2):
        snapshot = _back_up(bench, hook)
        assert snapshot.counts.problems == (1 if fails else 0)
        assert len(bench.recording.problem_paths) == (number if fails else 0)
        for name in (b"before", b"later"):
            wanted = (bench.source / name.decode()).read_bytes()
            assert _content(bench, snapshot, name) == wanted
    assert bench.repository.check(read_data=True).findings == ()
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []


def test_attributes_that_cannot_be_read_are_told_each_time(bench):
    (bench.source / "file").write_bytes(b"1")
    os.setxattr(bench.source / "file", "user.note", b"n")
    facts = bench.facts()

    def hook(what: str, path: bytes, _at: int) -> None:
        if what == "attributes" and path == b"file":
            raise EntryUnreadable("attributes cannot be read")

    for _ in range(2):
        assert _back_up(bench, hook).counts.problems == 1
    assert bench.differences(bench.back_up(), facts) == []


def test_no_change_is_missed_when_ctime_tells(bench):
    """500 files changed in ways that keep size and mtime, some with an inode used again."""
    rng = random.Random(5)
    paths = [bench.source / f"{number:03}" for number in range(500)]
    for path in paths:
        path.write_bytes(rng.randbytes(64))
    bench.back_up()
    for path in paths:
        before = path.stat()
        way = rng.randrange(4)
        if way == 0:
            path.write_bytes(rng.randbytes(64))
        elif way == 1:
            path.unlink()
            path.write_bytes(rng.randbytes(64))
        elif way == 2:
            other = bench.source / "new"
            other.write_bytes(rng.randbytes(64))
            other.rename(path)
        else:
            path.write_bytes(rng.randbytes(200))
        times = before.st_mtime_ns - (10**9 if way == 3 else 0)
        os.utime(path, ns=(times, times))
        assert path.stat().st_ctime_ns != before.st_ctime_ns
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []


class _CoarseDirectory(_HookedDirectory):
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
        return (_CoarseDirectory(found) for found in self._inner.scan())


def _coarse(entry: Entry) -> Entry:
    second = 1_000_000_000
    return entry._replace(ctime_ns=entry.ctime_ns // second * second)


def test_a_change_within_the_same_second_of_a_coarse_clock_is_caught(workbench):
    bench = workbench(clock=SystemClock())
    file, link, folder = bench.source / "file", bench.source / "link", bench.source / "folder"
    options = BackupOptions(hostname="host", username="user")
    unseen = 0
    folder.mkdir()
    for number in range(60):
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


def test_everything_is_read_again_when_asked(bench):
    (bench.source / "file").write_bytes(b"12345")
    bench.back_up()
    assert bench.back_up().counts.read_bytes == 0
    assert bench.back_up(rereads_all=True).counts.read_bytes == 5
