"""Sources of which a part cannot be read, is swapped, or is no content at all."""

import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from backapp_core.errors import StorageFull, TransportUnavailable
from backapp_core.model.jobs import BackupOptions
from backapp_core.testing.fakes import FrozenClock, MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase, raising, strike_first
from backapp_core.testing.hooked_scanner import HookedScanner
from backapp_core.testing.tree_strategies import trees

pytestmark = pytest.mark.thorough

if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("becomes somebody else, makes devices", allow_module_level=True)

_SOMEBODY = 65_533
_SECRET = b"outside of every root"


@pytest.fixture(params=["targz", "restic", "restic with workers"])
def each_bench(request):
    """Return a bench of every way in which files are read."""
    if request.param == "targz":
        return request.getfixturevalue("workbench")()
    if request.param == "restic with workers":
        request.getfixturevalue("watched")
    return request.getfixturevalue("restic_bench")


def _as_somebody(work: Callable[[], None]) -> None:
    """Do ``work`` in a child without rights; fails if it raises there."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(_SOMEBODY)
            os.setuid(_SOMEBODY)
            work()
            status = 0
        except BaseException:  # noqa: BLE001  # shown, and the child fails
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that everybody can reach and write to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def test_what_may_not_be_read_is_told_once_and_the_rest_is_stored(any_workbench, open_folder):
    source = open_folder / "source"
    for name in ("before", "closed file", "closed folder/below", "folder/inside", "zzz last"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    root = any_workbench(source=source)
    # Here everything is imported, for somebody else may not even read where this program stands.
    assert root.differences(root.back_up(), root.facts()) == []
    assert root.repository.check(read_data=True).findings == ()
    (source / "closed file").chmod(0)
    (source / "closed folder").chmod(0o711)

    def work() -> None:
        bench = type(root)(open_folder / "bench", kind=root.kind, keys=root.keys, source=source)
        refused = [os.fsencode(source / name) for name in ("closed file", "closed folder")]
        for _ in range(2):
            before = len(bench.recording.problem_paths)
            snapshot = bench.back_up()
            assert sorted(bench.recording.problem_paths[before:]) == refused
            assert snapshot.counts.problems == 2
        top, outcome = bench.extract(snapshot)
        here = top / source.relative_to("/")
        assert outcome.not_restored == ()
        for name in ("before", "folder/inside", "zzz last"):
            assert (here / name).read_bytes() == name.encode()
        assert list((here / "closed folder").iterdir()) == []
        assert not (here / "closed file").exists()
        assert bench.repository.check(read_data=True).findings == ()

    _as_somebody(work)


def test_what_vanishes_or_becomes_something_else_is_told_once_and_the_rest_is_stored(any_bench):
    source = any_bench.source
    for name in ("gone", "kept", "link in its place", "folder in its place", "fifo in its place"):
        (source / name).write_bytes(name.encode())
    (source / "zone").mkdir()
    (source / "zone/last").write_bytes(b"last")

    def swap(what: str, path: bytes, _at: int) -> None:
        place = Path(os.fsdecode(path))
        if what != "open" or not place.exists() or place.is_dir():
            return
        if place.name == "gone":
            place.unlink()
        elif place.name == "link in its place":
            place.unlink()
            place.symlink_to("/etc/passwd")
        elif place.name == "folder in its place":
            place.unlink()
            place.mkdir()
        elif place.name == "fifo in its place":
            place.unlink()
            os.mkfifo(place)

    scanner = HookedScanner(any_bench.scanner(), swap)
    options = BackupOptions(hostname="host", username="user")
    snapshot = any_bench.repository.backup(scanner, options).snapshot
    struck = ("fifo in its place", "folder in its place", "gone", "link in its place")
    assert sorted(any_bench.recording.problem_paths) == [
        os.fsencode(source / name) for name in struck
    ]
    assert snapshot.counts.problems == 4
    top, outcome = any_bench.extract(snapshot)
    here = top / source.relative_to("/")
    assert outcome.problems == 0
    assert sorted(path.name for path in here.rglob("*") if path.is_file()) == ["kept", "last"]
    facts = any_bench.facts()
    assert any_bench.differences(any_bench.back_up(), facts) == []


@pytest.mark.parametrize("error", [StorageFull("full"), TransportUnavailable("gone")])
def test_a_failure_of_the_destination_is_no_problem_of_the_source(any_bench, random_bytes, error):
    for number in range(5):
        (any_bench.source / f"{number}").write_bytes(random_bytes(2_000))

    def strike(operation, phase) -> None:
        if operation.verb == "put" and operation.name.startswith(("data/", "archives/")):
            strike_first(10**6, raising(error))(operation, phase)

    failing = FaultyTransport(MemoryTransport(any_bench.bucket), strike)
    with pytest.raises(type(error)):
        any_bench.back_up(repository=any_bench.open(failing))
    assert any_bench.recording.problem_paths == []
    assert any_bench.repository.snapshots() == []


@pytest.mark.parametrize(
    "device", ["/dev/zero", "/dev/random", "/proc/self/maps", "/sys/kernel/mm"]
)
def test_sources_without_an_end_or_without_content_are_not_read(each_bench, device):
    snapshot = each_bench.back_up(Path(device))
    assert snapshot.counts.read_bytes == 0
    top, outcome = each_bench.extract(snapshot)
    assert outcome.problems == 0
    status, restored = Path(device).lstat(), (top / device[1:]).lstat()
    assert (restored.st_mode, restored.st_rdev) == (status.st_mode, status.st_rdev)
    assert each_bench.repository.check(read_data=True).findings == ()


@pytest.mark.parametrize("seconds", [2**34, 99_999_999_999, -60_000_000_000])
def test_times_that_outgrow_64_bits_are_kept(any_workbench, seconds):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # disks have bounds of their own
        source = Path(folder, "source")
        bench = any_workbench(source=source)
        source.mkdir(exist_ok=True)
        (source / "file").write_bytes(b"content")
        (source / "folder").mkdir()
        for path in (source / "file", source / "folder"):
            os.utime(path, ns=(0, seconds * 10**9))
        first, second = bench.back_up(), bench.back_up()
        assert second.counts.files_unmodified == first.counts.files == 1
        times = {node.path: node.mtime_ns for node in bench.repository.nodes(second)}
        assert times[os.fsencode(source / "file")] == seconds * 10**9
        assert times[os.fsencode(source / "folder")] == seconds * 10**9
        assert bench.repository.check(read_data=True).findings == ()


class Swapper(threading.Thread):
    """Gives paths a new type again and again, as fast as it can, until told to stop."""

    def __init__(self, source: Path, outside: Path) -> None:
        super().__init__()
        self.source, self.outside = source, outside
        self.stopping = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        makers = (self._file, os.mkfifo, self._link, self._folder, self._link_to_folder)
        while not self.stopping.is_set():
            fresh = self.source.parent / f"fresh {self.swaps}"
            makers[self.swaps % len(makers)](fresh)
            path = self.source / f"it {self.swaps // len(makers) % 3}"
            if os.path.lexists(path):
                path.rename(self.source.parent / f"away {self.swaps}")
            fresh.rename(path)
            self.swaps += 1

    def _file(self, path: Path) -> None:
        path.write_bytes(b"inside")

    def _link(self, path: Path) -> None:
        path.symlink_to(self.outside / "inner")

    def _folder(self, path: Path) -> None:
        path.mkdir()
        self._file(path / "inner")

    def _link_to_folder(self, path: Path) -> None:
        path.symlink_to(self.outside)


@contextmanager
def _swapping(bench) -> Iterator[Swapper]:
    outside = bench.folder / "outside"
    outside.mkdir()
    (outside / "inner").write_bytes(_SECRET)
    bench.source.joinpath("still").write_bytes(b"still")
    swapper = Swapper(bench.source, outside)
    swapper.start()
    try:
        yield swapper
    finally:
        swapper.stopping.set()
        swapper.join()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [8, pytest.param(500, marks=pytest.mark.slow)])
def test_types_that_are_swapped_under_way_never_lead_outside_nor_stop_a_backup(each_bench, rounds):
    bench = each_bench
    with _swapping(bench) as swapper:
        snapshots = [bench.back_up() for _ in range(rounds)]
        assert swapper.is_alive()
    assert swapper.swaps > rounds
    for one in snapshots:
        top, outcome = bench.extract(one)
        assert outcome.problems == 0
        here = top / bench.source.relative_to("/")
        assert (here / "still").read_bytes() == b"still"
        for path in here.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.name != "still":
                assert path.read_bytes() in {b"inside", b""}
    assert bench.repository.check(read_data=True).findings == ()


@pytest.mark.parametrize("days", [365, -365])
def test_a_clock_that_jumps_by_a_year_during_a_run_confuses_nothing(any_workbench, days):
    clock = FrozenClock(datetime.now(UTC))
    bench = any_workbench(clock=clock)
    (bench.source / "file").write_bytes(b"1")
    first, facts = bench.back_up(), bench.facts()
    (bench.source / "file").write_bytes(b"2")

    def strike(operation, now) -> None:
        if operation.name.startswith(("archives/", "data/")) and now is Phase.BEFORE:
            clock.set(clock.now() + timedelta(days=days))

    repository = bench.open(FaultyTransport(MemoryTransport(bench.bucket), strike))
    second, newer = bench.back_up(repository=repository), bench.facts()
    (bench.source / "file").write_bytes(b"3")
    third, newest = bench.back_up(), bench.facts()
    points = [(first, facts), (second, newer), (third, newest)]
    for snapshot, wanted in points:
        assert bench.differences(snapshot, wanted) == []
    bench.forget(first)
    bench.clean_up()
    for snapshot, wanted in points[1:]:
        assert bench.differences(snapshot, wanted) == []


_DRAWN = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(spec=trees())
@settings(_DRAWN, max_examples=8)
def test_any_tree_comes_back(any_workbench, spec):
    _require_it_comes_back(any_workbench, spec)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(spec=trees(max_items=30))
@settings(_DRAWN, max_examples=500)
def test_many_trees_come_back(any_workbench, spec):
    _require_it_comes_back(any_workbench, spec)


def _require_it_comes_back(any_workbench, spec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = any_workbench(source=Path(folder) / "source")
        spec.write(bench.source)
        facts = bench.facts()
        for snapshot in (bench.back_up(), bench.back_up()):
            assert bench.differences(snapshot, facts) == []
        assert bench.recording.problem_paths == []
        assert bench.repository.check(read_data=True).findings == ()
