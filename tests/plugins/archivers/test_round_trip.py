"""What goes into a repository comes out the same, whatever happened between backups."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.testing.hostile_changes import CHANGES
from backapp_core.testing.hostile_tree import hostile_tree

pytestmark = pytest.mark.thorough

if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("devices, owners and trusted attributes need root", allow_module_level=True)


@pytest.fixture(params=["targz", "targz sealed", "restic"])
def each_workbench(
    request: pytest.FixtureRequest,
    workbench: Callable[..., object],
    restic_workbench: Callable[..., object],
    sealed: dict[str, object],
) -> Callable[..., object]:
    """Return a function that makes a `Workbench` of every kind there is."""
    if request.param == "targz sealed":
        return lambda **choices: workbench(**choices, **sealed)
    return workbench if request.param == "targz" else restic_workbench


def test_every_snapshot_of_a_hostile_tree_comes_back(each_workbench, either_clock):
    bench = each_workbench(clock=either_clock)
    hostile_tree().write(bench.source)
    points = []
    for change in CHANGES:
        change(bench.source)
        facts = bench.facts()
        points.append((bench.back_up(), facts))
    assert [snapshot.parent_id for snapshot, _ in points] == [
        None,
        *(snapshot.id for snapshot, _ in points[:-1]),
    ]
    assert bench.recording.problem_paths == []
    for snapshot, facts in points:
        assert bench.differences(snapshot, facts) == []
    assert bench.repository.check(read_data=True).findings == ()


@pytest.mark.parametrize(
    "kept",
    [0, 3, len(CHANGES) - 1]
    + [pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 4)],
)
def test_snapshot_survives_the_others_being_forgotten(any_workbench, kept):
    bench = any_workbench()
    hostile_tree().only(lambda path, _: not path.startswith(b"deep")).write(bench.source)
    snapshots = []
    kept_facts = {}
    for number, change in enumerate(CHANGES):
        if number == len(CHANGES) - 1:
            (bench.source / "deep").mkdir()
        change(bench.source)
        if number == kept:
            kept_facts = bench.facts()
        snapshots.append(bench.back_up())
    bench.forget(*(each for each in snapshots if each is not snapshots[kept]))
    bench.clean_up()
    assert bench.repository.check(read_data=True).findings == ()
    assert bench.differences(snapshots[kept], kept_facts) == []
    assert bench.repository.plan_clean_up().objects == ()


def test_a_subtree_comes_back_alone(any_bench):
    bench = any_bench
    hostile_tree().write(bench.source)
    snapshot = bench.back_up()
    folder = os.fsencode(bench.source) + b"/elsewhere"

    class Below:
        def wants(self, node):
            return node.path == folder or node.path.startswith(folder + b"/")

        def enters(self, path):
            return folder.startswith(path.rstrip(b"/") + b"/") or self_or_below(path)

    def self_or_below(path):
        return path == folder or path.startswith(folder + b"/")

    top, outcome = bench.extract(snapshot, selection=Below())
    assert outcome.problems == 0
    wanted = bench.facts()
    below = {path: facts for path, facts in wanted.items() if path.startswith(b"elsewhere/")}
    place = top / bench.source.relative_to("/")
    assert sorted(os.listdir(place)) == ["elsewhere"]
    one, two = place / "elsewhere/two", place / "elsewhere/below/three"
    assert one.samefile(two)
    assert one.read_bytes() == b"shared by many names"
    assert len(below) == 3


@pytest.mark.parametrize("folder", ["/usr/share/perl5", "/usr/share/zoneinfo"])
def test_a_real_tree_comes_back(any_workbench, folder):
    source = Path(folder)
    if not source.is_dir():
        source = Path(os.__file__).parent / "email"
    bench = any_workbench(source=source)
    full, increment = bench.back_up(), bench.back_up()
    assert increment.counts.read_bytes == 0
    assert increment.counts.files_unmodified == full.counts.files_new
    facts = bench.facts()
    for snapshot in (full, increment):
        assert bench.differences(snapshot, facts) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_share_folder_comes_back(each_workbench):
    bench = each_workbench(source=Path("/usr/share"))
    full, increment = bench.back_up(), bench.back_up()
    facts = bench.facts()
    print(f"{len(facts)} entries, {full.counts.processed_bytes >> 20} MiB")
    for snapshot in (full, increment):
        assert bench.differences(snapshot, facts) == []
