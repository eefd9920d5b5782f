"""What this machine keeps beside a repository may be full, read-only, gone or altered under way.

A cache saves time and is never believed: with a cold one, a bad one or none everything comes to the
same. Where the temporary folder has no room, a verb says so, and the next one just works.
"""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from small_disks import fill_up

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import StorageFull, TargetError
from backapp_core.events import Level, LogLine
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import (
    FaultyTransport,
    Operation,
    Phase,
    RecordingTransport,
    kill_this_process,
)
from backapp_plugins.archivers.restic.restore import late_nodes
from backapp_plugins.archivers.targz import manifest_writer, place
from backapp_plugins.archivers.targz.repository import TargzRepository

pytestmark = pytest.mark.thorough

_DISK_BYTES = 1 << 20


@pytest.fixture
def disk(mount_small: Callable[[int], Path]) -> Path:
    """Return a small disk of its own, for what is kept on this machine."""
    return mount_small(_DISK_BYTES)


@pytest.fixture
def bench(any_workbench, disk, random_bytes, monkeypatch):
    """Return a bench of two snapshots, all of whose own folders are on the small disk."""
    bench = any_workbench(folders=disk)
    (disk / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(disk / "temporary"))
    for name in ("one", "two/three", "two/four"):
        (bench.source / name).parent.mkdir(exist_ok=True)
        (bench.source / name).write_bytes(random_bytes(2_000))
    bench.back_up()
    (bench.source / "one").write_bytes(random_bytes(3_000))
    (bench.source / "link").symlink_to("two/three")
    bench.back_up()
    bench.disk = disk
    return bench


def _warnings(bench) -> list[str]:
    return [one.text for one in bench.recording.of(LogLine) if one.level is Level.WARNING]


def _require_as_ever(bench) -> None:
    """Every verb does what it does with a cache that is warm and whole."""
    (bench.source / "two/four").write_bytes(os.urandom(2_500))
    facts = bench.facts()
    repository = bench.open()
    before = repository.snapshots()
    new = [bench.back_up(repository=repository) for _ in range(2)]
    for one in new:
        assert bench.differences(one, facts, repository=repository) == []
    bench.forget(before[0], new[0])
    bench.clean_up(repository)
    assert bench.open().check(read_data=True).findings == ()
    assert repository.plan_clean_up().objects == ()
    assert repository.snapshots() == [*before[1:], new[1]]
    assert bench.differences(new[1], facts, repository=repository) == []


def test_full_folders_of_this_machine_cost_only_time(bench):
    shutil.rmtree(bench.surroundings.cache_folder)  # a cold one, which cannot be warmed
    filler = fill_up(bench.disk)
    _require_as_ever(bench)
    assert any("cache cannot be written" in text for text in _warnings(bench))
    assert [path for path in bench.disk.rglob(".*") if path.is_file()] == []
    filler.unlink()
    warned = len(_warnings(bench))
    _require_as_ever(bench)
    assert len(_warnings(bench)) == warned


@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
def test_folders_of_this_machine_that_are_only_read_cost_only_time(bench, is_warm):
    if not is_warm:
        bench.surroundings = evolve(bench.surroundings, cache_folder=bench.disk / "other")
    subprocess.run(["mount", "-o", "remount,ro", bench.disk], check=True)
    _require_as_ever(bench)
    assert any("cache cannot be written" in text for text in _warnings(bench))


# --- a cache that changes while it is used


def _lose(cache: Path) -> None:
    shutil.rmtree(cache)


def _flip(cache: Path, number: int) -> None:
    """Put another file in the place of each, with one bit the other way round."""
    for path in [one for one in cache.rglob("*") if one.is_file()]:
        data = bytearray(path.read_bytes())
        if data:
            data[number * 37 % len(data)] ^= 1 << number % 8
            path.unlink()
            path.write_bytes(data)


def _forge(cache: Path) -> None:
    for path in [one for one in cache.rglob("*") if one.is_file()]:
        path.unlink()
        path.write_bytes(b"not what was here")


def _bar(cache: Path) -> None:
    shutil.rmtree(cache)
    cache.write_bytes(b"a file where the folder was")


HARMS: dict[str, Callable[[Path, int], None]] = {
    "lost": lambda cache, _: _lose(cache),
    "flipped": _flip,
    "forged": lambda cache, _: _forge(cache),
    "barred": lambda cache, _: _bar(cache),
}


def _back_up(bench, transport) -> None:
    bench.back_up(repository=bench.open(transport), hostname="other")


def _clean_up(bench, transport) -> None:
    repository = bench.open(transport)
    bench.clean_up(repository)
    assert repository.plan_clean_up().objects == ()


def _restore(bench, transport) -> None:
    repository = bench.open(transport)
    assert bench.differences(repository.snapshots()[-1], bench.facts(), repository=repository) == []


def _check(bench, transport) -> None:
    assert bench.open(transport).check(read_data=True).is_clean


VERBS = {"backup": _back_up, "clean up": _clean_up, "restore": _restore, "check": _check}


class Harming:
    """Does harm before one operation, or the next one, since threads may change places."""

    def __init__(self, number: int, harm: Callable[[], None]) -> None:
        self._number = number
        self._harm = harm
        self._lock = threading.Lock()
        self.is_done = False

    def __call__(self, operation: Operation, phase: Phase) -> None:
        with self._lock:
            if operation.number >= self._number and not self.is_done:
                self.is_done = True
                self._harm()


@pytest.mark.parametrize(
    ("harm", "every"),
    [
        ("flipped", 9),
        ("barred", 9),
        *(pytest.param(one, 1, marks=pytest.mark.slow) for one in HARMS),
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_cache_that_is_harmed_under_way_costs_only_time(
    any_bench, random_bytes, verb, harm, every
):
    """Each time the repository is asked for something, or each of so many times."""
    bench, act = any_bench, VERBS[verb]
    for number in range(3):
        (bench.source / f"{number}").write_bytes(random_bytes(1_000))
        bench.back_up()
    bench.forget(bench.repository.snapshots()[0])
    facts, cache = bench.facts(), bench.surroundings.cache_folder
    stored, kept = dict(bench.bucket.stored), bench.folder / "kept cache"
    shutil.copytree(cache, kept)
    counted = RecordingTransport(MemoryTransport(bench.bucket))
    act(bench, counted)
    points = len(counted.operations)
    assert points > 4
    for number in range(1, points + 1, every):
        bench.bucket.stored = dict(stored)
        _bring_back(kept, cache)
        harming = Harming(number, lambda number=number: HARMS[harm](cache, number))
        act(bench, FaultyTransport(MemoryTransport(bench.bucket), harming))
        assert harming.is_done, number
        assert bench.open().check(read_data=True).is_clean, number
        latest = bench.back_up(repository=bench.open())
        assert bench.differences(latest, facts) == [], number


def _bring_back(kept: Path, cache: Path) -> None:
    if cache.is_dir():
        shutil.rmtree(cache)
    else:
        cache.unlink(missing_ok=True)
    shutil.copytree(kept, cache)


# --- what a killed process leaves


def test_what_a_killed_backup_left_in_the_cache_is_for_its_owner_and_gone_after_a_day(any_bench):
    bench, cache = any_bench, any_bench.surroundings.cache_folder
    (bench.source / "file").write_bytes(b"1")
    bench.back_up()
    for number in range(2):
        (bench.source / "file").write_bytes(b"%d" % number)
        _kill_when_it_renames(bench, cache, after=number)
    left = _drafts(cache)
    assert left
    assert all(path.parent.stat().st_mode & 0o777 == 0o700 for path in left)
    facts = bench.facts()
    assert bench.differences(bench.back_up(repository=bench.open()), facts) == []
    assert _drafts(cache) == left  # somebody may be writing them
    for path in left:
        os.utime(path, ns=(0, 0))
    (bench.source / "file").write_bytes(b"another")
    bench.back_up()
    assert _drafts(cache) == []


def _drafts(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob(".*") if path.is_file())


def _kill_when_it_renames(bench, cache: Path, *, after: int) -> None:
    """Back up in a process that is killed when it has written the next file of the cache."""
    child = os.fork()
    if child == 0:
        left = after

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event == "os.rename" and str(arguments[0]).startswith(str(cache)):
                left -= 1
                if left < 0:
                    kill_this_process()

        try:
            sys.addaudithook(audit)
            bench.back_up(repository=bench.open())
        finally:
            os._exit(1)
    os.waitpid(child, 0)


# --- a temporary folder without room


@pytest.fixture
def is_all_spooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little be much: what goes into a temporary file beyond megabytes does so at once."""
    for module in (late_nodes, manifest_writer, place):
        monkeypatch.setattr(module, "_IN_MEMORY_BYTES", 1)


@pytest.mark.usefixtures("is_all_spooled")
def test_a_restore_that_cannot_remember_links_says_where_it_lacks_room(bench):
    snapshot = bench.repository.snapshots()[-1]
    shutil.rmtree(bench.surroundings.cache_folder)
    filler = fill_up(bench.disk)
    with pytest.raises((TargetError, StorageFull), match="temporary") as caught:
        bench.extract(snapshot)
    assert os.strerror(errno.ENOSPC) in str(caught.value)
    assert not [name for name in bench.bucket.objects if name.startswith("locks/")]
    filler.unlink()
    assert bench.differences(snapshot, bench.facts()) == []


@pytest.mark.usefixtures("is_all_spooled")
def test_a_backup_that_has_no_room_for_temporary_files_stores_nothing_or_all(bench):
    (bench.source / "one").write_bytes(b"changed")
    facts, before = bench.facts(), dict(bench.bucket.objects)
    filler = fill_up(bench.disk)
    if isinstance(bench.repository, TargzRepository):  # which has to spool its list of files
        with pytest.raises(StorageFull, match="temporary folder"):
            bench.back_up()
        assert dict(bench.bucket.objects) == before
        filler.unlink()
    snapshot = bench.back_up()
    filler.unlink(missing_ok=True)
    assert bench.differences(snapshot, facts) == []
    assert bench.repository.check(read_data=True).findings == ()


def test_a_restore_of_very_many_folders_says_where_it_lacks_room(bench, tmp_path):
    for number in range(1_100):
        (bench.source / f"folder {number}").mkdir()
    snapshot = bench.back_up()
    filler = fill_up(bench.disk)
    target = FolderTarget(os.fsencode(tmp_path / "out"), ExtractOptions(), bench.surroundings)
    with pytest.raises(TargetError, match="temporary"):
        bench.repository.restore(snapshot, target)
    filler.unlink()
    assert bench.differences(snapshot, bench.facts()) == []
