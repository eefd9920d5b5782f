"""What goes into a tar.gz repository comes out the same, at every point of a chain."""

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from backapp_core.testing.hostile_tree import hostile_tree

if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("devices, owners and trusted attributes need root", allow_module_level=True)


def create_and_edit(top: Path) -> None:
    (top / "new folder/with/levels").mkdir(parents=True)
    (top / "new folder/with/levels/file").write_bytes(b"new")
    (top / "aaa first").write_bytes(b"sorts before everything")
    (top / "zzz last").symlink_to("aaa first")
    (top / "empty").write_bytes(b"no longer")
    (top / "incompressible").write_bytes(random.Random(1).randbytes(2_500_000))
    os.truncate(top / "sparse/all hole", 5 << 20)
    with (top / "sparse/holes at both ends").open("r+b") as file:
        file.seek(1 << 18)
        file.write(b"an island in the first hole")
    (top / "another empty folder").mkdir()
    os.mkfifo(top / "new folder/pipe")


def rename_delete_and_change_types(top: Path) -> None:
    (top / "names").rename(top / "renamed names")
    (top / "order/a/b").rename(top / "order/a/c")
    (top / "empty").unlink()
    shutil.rmtree(top / "modes")
    (top / "times/zero").unlink()
    (top / "times/zero").symlink_to("nanosecond")
    (top / "order/a-b").unlink()
    (top / "order/a-b").mkdir()
    (top / "order/a-b/inside").write_bytes(b"where a file was")
    shutil.rmtree(top / "new folder")
    (top / "new folder").write_bytes(b"where a folder was")
    (top / "special/fifo").unlink()
    (top / "special/fifo").write_bytes(b"where a fifo was")
    (top / "links/dangling").unlink()
    os.mkfifo(top / "links/dangling")
    (top / "empty folder").rmdir()


def touch_only_metadata(top: Path) -> None:
    (top / "renamed names/a").chmod(0o4711)
    os.chown(top / "renamed names/upper", 4321, 1234)
    os.setxattr(top / "renamed names/UPPER", "user.note", b"new")
    os.setxattr(top / "user attribute", "user.colour", b"blue")
    os.removexattr(top / "user attribute", "user.empty")
    os.utime(top / "incompressible", ns=(1, 1_500_000_000_000_000_001))
    os.utime(top / "sparse/huge", ns=(1, 77))
    os.chown(top / "links/up", 5, 6, follow_symlinks=False)
    os.utime(top / "links/top", ns=(5, 5), follow_symlinks=False)
    (top / "folders").chmod(0o700)
    os.setxattr(top / "folders", "user.folder", b"too")
    os.utime(top / "order", ns=(3, 3))
    (top / "special/socket").chmod(0o611)


def regroup_hard_links(top: Path) -> None:
    os.link(top / "links/one", top / "aaa before all others")
    (top / "elsewhere/below/three").unlink()
    os.link(top / "incompressible", top / "elsewhere/a new name of something old")
    (top / "links/empty").unlink()
    (top / "links/hard symlink").unlink()
    (top / "aaa first").unlink()
    os.link(top / "zzz last", top / "aaa first", follow_symlinks=False)
    content = (top / "elsewhere/two").read_bytes()
    (top / "elsewhere/two").unlink()
    (top / "elsewhere/two").write_bytes(content)
    os.link(top / "special/fifo", top / "special/another")
    (top / "special/hard fifo").unlink()
    os.link(top / "sparse/odd end", top / "sparse/1 odd")


def grow_shrink_and_link_on(top: Path) -> None:
    os.truncate(top / "sparse/data at both ends", 1 << 20)
    os.truncate(top / "sparse/huge", 1 << 39)
    os.truncate(top / "incompressible", 100)
    with (top / "sparse/zeros that are stored").open("r+b") as file:
        file.seek(1 << 19)
        file.write(b"x" * 3_000_000)
    (top / "aaa before all others").unlink()
    os.link(top / "links/one", top / "elsewhere/zzz")
    shutil.rmtree(top / "deep")
    (top / "folders").chmod(0o755)
    os.truncate(top / "sparse/1 odd", 0)


def weigh_down(top: Path) -> None:
    """Make the first archive so large that all increments stay in its chain."""
    (top / "ballast").write_bytes(random.Random(2).randbytes(6_000_000))


CHANGES = (
    weigh_down,
    create_and_edit,
    rename_delete_and_change_types,
    touch_only_metadata,
    regroup_hard_links,
    grow_shrink_and_link_on,
)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_every_point_of_a_chain_on_a_hostile_tree_comes_back(
    workbench, sealed, either_clock, is_sealed
):
    bench = workbench(clock=either_clock, **(sealed if is_sealed else {}))
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


def test_every_point_survives_the_others_being_forgotten(workbench):
    kept_facts = {}
    for kept in range(len(CHANGES)):
        bench = workbench()
        hostile_tree().only(lambda path, _: not path.startswith(b"deep")).write(bench.source)
        snapshots = []
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


def test_a_subtree_comes_back_alone(bench):
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
def test_a_real_tree_comes_back(workbench, folder):
    source = Path(folder)
    if not source.is_dir():
        source = Path(os.__file__).parent / "email"
    bench = workbench(source=source)
    full, increment = bench.back_up(), bench.back_up()
    assert increment.counts.read_bytes == 0
    assert increment.counts.files_unmodified == full.counts.files_new
    facts = bench.facts()
    for snapshot in (full, increment):
        assert bench.differences(snapshot, facts) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_whole_share_folder_comes_back(workbench, sealed, is_sealed):
    bench = workbench(source=Path("/usr/share"), **(sealed if is_sealed else {}))
    full, increment = bench.back_up(), bench.back_up()
    facts = bench.facts()
    print(f"{len(facts)} entries, {full.counts.processed_bytes >> 20} MiB")
    for snapshot in (full, increment):
        assert bench.differences(snapshot, facts) == []
