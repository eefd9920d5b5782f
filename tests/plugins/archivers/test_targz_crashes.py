"""kill -9 at every point of every verb: nothing acknowledged is lost, the next run just works."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.model.repositories import RemovalPlan, Severity
from backapp_core.testing.fakes import FrozenClock
from backapp_core.testing.faults import (
    FaultyTransport,
    Operation,
    Phase,
    RecordingTransport,
    Strike,
    kill_this_process,
    points,
)
from backapp_plugins.archivers.targz import backapp_archivers
from backapp_plugins.archivers.targz.settings import TargzSettings
from backapp_plugins.transports.folder import FolderSettings, open_folder
from backapp_plugins.transports.fsspec_url import FsspecSettings, open_url

pytestmark = pytest.mark.thorough

if sys.platform != "linux":
    pytest.skip("kills forked processes", allow_module_level=True)

KIND = backapp_archivers()[0]


def _edit(source: Path) -> None:
    (source / "folder/changed").write_bytes(b"second")
    (source / "added").write_bytes(b"a" * 3000)
    (source / "gone").unlink()


def _full(bench, repository):
    bench.back_up(repository=repository, is_full=True)


def _increment(bench, repository):
    bench.back_up(repository=repository)


def _remove(_bench, repository):
    first, second, *_ = repository.snapshots()
    repository.remove(RemovalPlan(keep=(), remove=(first.id, second.id)))


def _clean_up(_bench, repository):
    repository.clean_up(repository.plan_clean_up())


def _retag(_bench, repository):
    repository.retag(repository.snapshots()[-1], ("tagged",))


VERBS: dict[str, Callable[..., None]] = {
    "full": _full,
    "increment": _increment,
    "remove": _remove,
    "clean up": _clean_up,
    "retag": _retag,
}


def _prepare(bench) -> dict[str, object]:
    """Make four snapshots and something to clean up; return the facts by time."""
    source = bench.source
    (source / "folder").mkdir()
    (source / "folder/changed").write_bytes(b"first")
    (source / "folder/same").write_bytes(os.urandom(20_000))
    (source / "gone").write_bytes(b"going")
    os.link(source / "gone", source / "folder/linked")
    facts = {}
    for number in range(4):
        (source / f"number {number}").write_bytes(os.urandom(100))
        wanted = bench.facts()
        facts[bench.back_up(is_full=number == 2).taken_at] = wanted
    bench.forget(bench.repository.snapshots()[0])
    facts.pop(min(facts))
    bench.forget(*bench.repository.snapshots()[1:2])
    facts.pop(sorted(facts)[1])
    wanted = bench.facts()
    facts[bench.back_up().taken_at] = wanted
    return facts


def _in_a_child(action: Callable[[], None], fired: Path) -> None:
    """Run ``action`` in a process of its own that must be killed on the way."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child was not killed but ended with {status}"
    assert fired.exists()


def _transport(bench, folder: Path):
    if bench.through_fsspec:
        return open_url(FsspecSettings(f"local://{folder}"), bench.surroundings)
    return open_folder(FolderSettings(folder), bench.surroundings)


class _Template:
    """A repository with its cache, and copies of it."""

    def __init__(self, workbench, folder: Path, verb: str, *, large: bool) -> None:
        self.folder = folder
        self.bench = bench = workbench(source=folder / "source")
        bench.through_fsspec = large
        if large:
            for number in range(6):
                (bench.source / f"large {number}").write_bytes(os.urandom(2_000_000))
        bench.transport = _transport(bench, folder / "template")
        bench.transport.prepare()
        bench.repository = KIND.create(
            bench.transport, TargzSettings(), bench.keys, bench.surroundings
        )
        self.facts = _prepare(bench)
        shutil.copytree(bench.surroundings.cache_folder, folder / "template-cache")
        if verb in {"full", "increment"}:
            _edit(bench.source)
        self.here = bench.facts()

    def copy(self, name: str) -> Path:
        shutil.copytree(self.folder / "template", self.folder / name)
        shutil.rmtree(self.bench.surroundings.cache_folder)
        shutil.copytree(self.folder / "template-cache", self.bench.surroundings.cache_folder)
        return self.folder / name


def _sweep(
    workbench, folder: Path, verb: str, *, every: int = 1, large: bool = False
) -> tuple[int, int]:
    """Kill at every ``every``-th point; return how many operations and deaths there were."""
    template = _Template(workbench, folder, verb, large=large)
    bench = template.bench
    recording = RecordingTransport(_transport(bench, template.copy("counted")))
    VERBS[verb](bench, bench.open(recording))
    fired = Counter()
    for number, phase in list(points(recording.operations))[::every]:
        copy = template.copy(f"{number}-{phase}")
        mark = folder / f"fired-{number}-{phase}"
        transport = FaultyTransport(_transport(bench, copy), _kill_at(number, phase, mark))
        _in_a_child(lambda transport=transport: VERBS[verb](bench, bench.open(transport)), mark)
        fired[number, phase] += 1
        _require_sound(bench, copy, verb, template.facts, template.here)
        shutil.rmtree(copy)
    assert set(fired.values()) == {1}
    print(f"{verb}: {len(recording.operations)} operations, {len(fired)} points fired")
    return len(recording.operations), len(fired)


def _kill_at(number: int, phase: Phase, mark: Path) -> Strike:
    def strike(operation: Operation, now: Phase) -> None:
        if operation.number == number and now is phase:
            with mark.open("xb"):  # a second time would be an error
                kill_this_process()

    return strike


def _require_sound(bench, folder: Path, verb: str, facts, here) -> None:
    repository = bench.open(_transport(bench, folder))
    acknowledged = dict(facts)
    snapshots = repository.snapshots()
    times = [snapshot.taken_at for snapshot in snapshots]
    assert len(set(times)) == len(times)
    if verb == "remove":
        acknowledged = {at: wanted for at, wanted in facts.items() if at in times}
        assert len(acknowledged) >= len(facts) - 2
    elif verb in {"full", "increment"}:
        for at in set(times) - set(facts):
            acknowledged[at] = here  # published and not acknowledged: then it must be whole
    assert set(times) == set(acknowledged)
    for snapshot in snapshots:
        wanted = acknowledged[snapshot.taken_at]
        assert bench.differences(snapshot, wanted, repository=repository) == []
    found = repository.check(read_data=True).findings
    assert [each for each in found if each.severity is Severity.ERROR] == []
    _require_next_runs(bench, folder, repository, here)


def _require_next_runs(bench, folder: Path, repository, here) -> None:
    """Back up, retag, remove and clean up as if nothing had happened; nothing is left over."""
    bench.back_up(repository=repository)
    last = repository.snapshots()[-1]
    assert bench.differences(last, here, repository=repository) == []
    repository.retag(last, ("after",))
    repository.remove(RemovalPlan(keep=(), remove=(repository.snapshots()[0].id,)))
    repository.clean_up(repository.plan_clean_up())
    assert repository.check(read_data=True).findings == ()
    assert repository.plan_clean_up().objects == ()
    assert list(_transport(bench, folder).list("locks/")) == []
    if bench.through_fsspec:
        # Nobody can tell a dead writer's file from a slow one's there; they stay for a day.
        later = FrozenClock(datetime.now(UTC) + timedelta(days=2))
        surroundings = evolve(bench.surroundings, clock=later)
        url = FsspecSettings(f"local://{folder}")
        tidied = bench.open(open_url(url, surroundings), clock=later)
        tidied.clean_up(tidied.plan_clean_up())
    assert [path for path in folder.rglob("*") if path.name.startswith(".")] == []
    assert len(repository.snapshots()) == len({at.taken_at for at in repository.snapshots()})


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.timeout(600)
def test_a_run_killed_at_some_points_costs_nothing(workbench, quick_folder, verb):
    # Not a multiple of the phases of an operation, so that every phase has its turn.
    operations, fired = _sweep(workbench, quick_folder, verb, every=4)
    assert operations > 5
    assert fired >= operations // 2


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.timeout(600)
def test_a_run_killed_anywhere_costs_nothing(workbench, quick_folder, verb):
    operations, fired = _sweep(workbench, quick_folder, verb)
    assert operations > 5
    assert fired > 2 * operations


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", VERBS)
def test_a_larger_run_through_fsspec_killed_anywhere_costs_nothing(workbench, quick_folder, verb):
    operations, fired = _sweep(workbench, quick_folder, verb, large=True)
    assert operations > 5
    assert fired > 2 * operations


def test_a_creation_killed_anywhere_leaves_nothing_or_a_repository(bench, tmp_path):
    bench.through_fsspec = False
    counted = RecordingTransport(_transport(bench, tmp_path / "counted"))
    counted.prepare()
    KIND.create(counted, TargzSettings(), bench.keys, bench.surroundings)
    strikes = list(points(counted.operations))
    assert {phase for _, phase in strikes} == set(Phase)
    for number, phase in strikes:
        folder, mark = tmp_path / f"{number}-{phase}", tmp_path / f"fired-{number}-{phase}"

        transport = FaultyTransport(_transport(bench, folder), _kill_at(number, phase, mark))

        def create(transport=transport) -> None:
            transport.prepare()
            KIND.create(transport, TargzSettings(), bench.keys, bench.surroundings)

        _in_a_child(create, mark)
        again = _transport(bench, folder)
        again.prepare()
        if KIND.recognises(again):
            repository = KIND.open(again, bench.keys, bench.surroundings)
        else:
            repository = KIND.create(again, TargzSettings(), bench.keys, bench.surroundings)
        bench.back_up(repository=repository)
        repository.clean_up(repository.plan_clean_up())
        assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
