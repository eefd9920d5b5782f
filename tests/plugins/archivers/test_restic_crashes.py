"""kill -9 at every point of a backup: nothing acknowledged is lost, the next run just works."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backapp_core.model.repositories import CleanUpOptions, Severity
from backapp_core.testing.crashes import kill_once_at, passed_points, run_until_killed
from backapp_core.testing.fakes import FrozenClock
from backapp_core.testing.faults import FaultyTransport, Phase
from backapp_plugins.archivers.restic.writing import packing
from backapp_plugins.transports.folder import FolderSettings, open_folder

pytestmark = pytest.mark.thorough

if sys.platform != "linux":
    pytest.skip("kills forked processes", allow_module_level=True)


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little data fill several packs, with an index object after each."""
    monkeypatch.setattr(packing, "PACK_BYTES", 60_000)
    monkeypatch.setattr(packing, "_INDEX_SECONDS", -1.0)
    monkeypatch.setattr(packing, "_LOCAL_UPLOADS", 1)  # so that all runs pass the same points


class Template:
    """A repository of two snapshots with its cache, and copies of it."""

    def __init__(self, restic_workbench, folder: Path, *, is_full: bool) -> None:
        self.folder = folder
        self.is_full = is_full
        self.run_bytes = 0
        clock = FrozenClock(datetime.now(UTC) + timedelta(hours=1))
        self.bench = bench = restic_workbench(source=folder / "source", clock=clock)
        self.clock = clock
        bench.transport = self.reach(folder / "template")
        bench.transport.prepare()
        bench.repository = bench.create(bench.transport)
        self.facts = {}
        source = bench.source
        (source / "folder").mkdir()
        (source / "folder/same").write_bytes(os.urandom(20_000))
        for number in range(2):
            (source / "folder/changed").write_bytes(b"%d" % number)
            (source / f"number {number}").write_bytes(os.urandom(50_000))
            wanted = bench.facts()
            clock.advance(10)
            self.facts[bench.back_up().id] = wanted
        shutil.copytree(bench.surroundings.cache_folder, folder / "template-cache")
        (source / "folder/changed").write_bytes(b"edited")
        (source / "number 0").unlink()
        for number in range(3):
            (source / f"added {number}").write_bytes(os.urandom(50_000))
        self.here = bench.facts()
        clock.advance(10)

    def reach(self, folder: Path):
        return open_folder(FolderSettings(folder), self.bench.surroundings)

    def copy(self, name: str) -> Path:
        cache = self.bench.surroundings.cache_folder
        shutil.copytree(self.folder / "template", self.folder / name)
        shutil.rmtree(cache)
        shutil.copytree(self.folder / "template-cache", cache)
        return self.folder / name

    def back_up(self, transport) -> None:
        self.bench.back_up(repository=self.bench.open(transport), is_full=self.is_full)

    def points(self) -> Sequence[tuple[int, Phase]]:
        """Return where a backup can be struck; note how much one stores that is not."""
        counted = self.copy("counted")
        before = _stored_bytes(counted)
        passed = passed_points(self.reach(counted), self.back_up)
        self.run_bytes = _stored_bytes(counted) - before
        return passed

    def kill_at(self, number: int, phase: Phase) -> Path:
        """Return the repository as it is after a backup that was killed there."""
        copy = self.copy(f"{number}-{phase}")
        mark = self.folder / f"fired-{number}-{phase}"
        transport = FaultyTransport(self.reach(copy), kill_once_at(number, phase, mark))
        run_until_killed(lambda: self.back_up(transport), mark)
        return copy

    def require_sound(self, folder: Path) -> None:
        """Everything acknowledged is there, and the next runs leave nothing behind."""
        bench = self.bench
        repository = bench.open(self.reach(folder))
        snapshots = repository.snapshots()
        wanted = dict(self.facts)
        published = {one.id for one in snapshots} - set(wanted)
        assert len(published) <= 1
        wanted |= dict.fromkeys(published, self.here)  # not acknowledged, so it must be whole
        assert {one.id for one in snapshots} == set(wanted)
        for one in snapshots:
            assert bench.differences(one, wanted[one.id], repository=repository) == []
        found = repository.check(read_data=True).findings
        assert [each for each in found if each.severity is Severity.ERROR] == []
        size_bytes = _stored_bytes(folder)
        left_bytes = size_bytes - _stored_bytes(self.folder / "template")
        assert left_bytes <= self.run_bytes + 1000  # a lock, and lengths that vary a little
        self.clock.advance(10)
        next_one = bench.back_up(repository=repository)
        assert bench.differences(next_one, self.here, repository=repository) == []
        # What the dead run had listed is not stored again.
        assert _stored_bytes(folder) <= size_bytes + 170_000
        repository.clean_up(repository.plan_clean_up(CleanUpOptions(max_unused_bytes=0)))
        assert repository.check(read_data=True).findings == ()
        assert _unneeded(repository) == 0
        assert repository.plan_clean_up(CleanUpOptions(max_unused_bytes=0)).objects == ()
        assert list(self.reach(folder).list("locks/")) == []
        assert [path for path in folder.rglob("*") if path.name.startswith(".")] == []


def _unneeded(repository) -> int:
    """Return how many bytes no snapshot needs, whether or not a clean-up would take them."""
    lazy = CleanUpOptions(max_unused_share=1.0)
    return repository.plan_clean_up(lazy).unused_bytes


def _stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sweep(template: Template, every: int) -> tuple[int, int]:
    strikes = template.points()
    operations = max(number for number, _ in strikes)
    fired = Counter()
    for number, phase in strikes[::every]:
        copy = template.kill_at(number, phase)
        fired[number, phase] += 1
        template.require_sound(copy)
        shutil.rmtree(copy)
    assert set(fired.values()) == {1}
    print(f"{operations} operations, {len(fired)} points of {len(strikes)} fired")
    return operations, len(fired)


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "increment"])
@pytest.mark.timeout(300)
def test_a_backup_killed_at_some_points_costs_nothing(restic_workbench, quick_folder, is_full):
    operations, fired = _sweep(Template(restic_workbench, quick_folder, is_full=is_full), every=7)
    assert operations > 15
    assert fired >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("is_full", [True, False], ids=["full", "increment"])
def test_a_backup_killed_anywhere_costs_nothing(restic_workbench, quick_folder, is_full):
    operations, fired = _sweep(Template(restic_workbench, quick_folder, is_full=is_full), every=1)
    assert operations > 15
    assert fired > 2 * operations


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(3600)
def test_what_a_killed_backup_leaves_is_sound_to_restic(restic_workbench, restic_at, quick_folder):
    template = Template(restic_workbench, quick_folder, is_full=False)
    strikes = template.points()
    for number, phase in strikes:
        copy = template.kill_at(number, phase)
        subprocess.run(("rm", "-rf", copy / "locks"), check=True)
        (copy / "locks").mkdir()
        restic_at(copy).run("check", "--read-data")
        shutil.rmtree(copy)
    assert len(strikes) > 30


def test_a_creation_killed_anywhere_leaves_nothing_or_a_repository(restic_bench, quick_folder):
    bench = restic_bench

    def reach(name: str):
        return open_folder(FolderSettings(quick_folder / name), bench.surroundings)

    def create(transport) -> None:
        transport.prepare()
        bench.create(transport)

    strikes = passed_points(reach("counted"), create)
    assert {phase for _, phase in strikes} == set(Phase)
    for number, phase in strikes:
        name, mark = f"{number}-{phase}", quick_folder / f"fired-{number}-{phase}"
        transport = FaultyTransport(reach(name), kill_once_at(number, phase, mark))
        run_until_killed(lambda transport=transport: create(transport), mark)
        again = reach(name)
        again.prepare()
        repository = bench.open(again) if bench.kind.recognises(again) else bench.create(again)
        assert len(list(again.list("keys/"))) == 1
        bench.back_up(repository=repository)
        bench.clean_up(repository)
        assert repository.check(read_data=True).findings == ()
        assert [path for path in (quick_folder / name).rglob(".*") if path.is_file()] == []
    print(f"{max(strikes)[0]} operations, {len(strikes)} points fired")
