"""Where nothing changed no snapshot is made, and nothing is lost by that."""

import os
import shutil
from pathlib import Path

import pytest

from backapp_core.errors import EntryUnreadable
from backapp_core.model.jobs import BackupOptions
from backapp_core.testing.fakes import AheadClock, MemoryTransport
from backapp_core.testing.faults import RecordingTransport
from backapp_core.testing.hooked_scanner import HookedScanner
from backapp_core.testing.memory_scanner import MemoryScanner, MemoryScannerSettings
from backapp_plugins.archivers.targz.settings import TargzSettings

SKIP = BackupOptions(hostname="host", username="user", skips_unchanged=True)


def skip(bench, repository=None, roots: tuple[Path, ...] = ()):
    return (repository or bench.repository).backup(bench.scanner(*roots), SKIP)


def fill(folder: Path) -> None:
    for name in ("one", "two/three", "two/four", "five/six/seven"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 100)
    # Else some edits would come to more than the first backup, and another full one would be due.
    (folder / "two" / "noise").write_bytes(os.urandom(100_000))
    (folder / "link").symlink_to("one")
    (folder / "two" / "five").hardlink_to(folder / "one")


@pytest.mark.thorough  # the kit says most of it
def test_nothing_but_a_lock_is_written(any_workbench, either_clock):
    bench = any_workbench(clock=either_clock)
    fill(bench.source)
    first = bench.back_up()
    for beside in ("other", "another"):  # what is above the source changes, too
        (bench.source.parent / beside).touch()
        transport = RecordingTransport(MemoryTransport(bench.bucket))
        with bench.open(transport) as repository:
            result = skip(bench, repository)
        assert (result.is_skipped, result.snapshot) == (True, first)
        puts = [one.name for one in transport.operations if one.verb == "put"]
        assert [name for name in puts if not name.startswith("locks/")] == []


@pytest.mark.thorough  # the kit says most of it
def test_afterwards_a_change_is_saved_whole(any_workbench, either_clock):
    bench = any_workbench(clock=either_clock)
    fill(bench.source)
    bench.back_up()
    for number in range(3):
        (bench.source.parent / f"beside-{number}").touch()
        assert skip(bench).is_skipped
    (bench.source / "two" / "three").write_bytes(b"edited")
    facts = bench.facts()
    saved = skip(bench)
    assert (saved.is_skipped, saved.counts.files_changed) == (False, 1)
    assert bench.differences(saved.snapshot, facts) == []
    assert bench.repository.check(read_data=True).is_clean
    assert skip(bench).snapshot == saved.snapshot


@pytest.mark.thorough  # the kit says most of it
def test_a_lost_cache_makes_no_difference(any_workbench):
    bench = any_workbench()
    fill(bench.source)
    first = bench.back_up()
    shutil.rmtree(bench.surroundings.cache_folder)
    assert skip(bench).snapshot == first
    assert skip(bench).snapshot == first


def test_a_snapshot_after_a_skipped_one_is_whole_though_nothing_changed(any_bench):
    """What was seen above the source when nothing was stored must not be believed to be stored."""
    bench = any_bench
    fill(bench.source)
    first = bench.back_up()
    (bench.source.parent / "beside").touch()
    assert skip(bench).snapshot == first
    facts = bench.facts()
    saved = bench.back_up()
    assert saved.id != first.id
    assert bench.repository.check(read_data=True).is_clean
    assert bench.differences(saved, facts) == []


@pytest.mark.parametrize("pattern", ["three", "five/", "two/four", "six"])
def test_what_is_left_out_from_now_on_is_a_change(any_bench, pattern):
    """Nothing in the source tells it, not even the time of a folder."""
    bench = any_bench
    fill(bench.source)
    first = bench.back_up()
    for _ in range(2):
        result = bench.repository.backup(bench.scanner(excludes=(pattern,)), SKIP)
        assert not result.is_skipped or result.snapshot != first
    assert result.is_skipped
    assert skip(bench).snapshot not in {first, result.snapshot}


def test_several_roots_are_compared_each(any_workbench):
    bench = any_workbench()
    fill(bench.source)
    roots = (bench.source / "two", bench.source / "five" / "six", bench.source / "one")
    first = skip(bench, roots=roots).snapshot
    (bench.source / "five" / "of no interest").touch()
    assert skip(bench, roots=roots).snapshot == first
    for edited in ("five/six/seven", "one", "two/four"):
        (bench.source / edited).write_bytes(b"edited")
        saved = skip(bench, roots=roots)
        assert not saved.is_skipped
        assert skip(bench, roots=roots).snapshot == saved.snapshot
    assert not skip(bench, roots=roots[:2]).is_skipped


@pytest.mark.thorough  # the kit says most of it
def test_a_root_that_is_a_folder_of_another_snapshot_is_not_that_snapshot(any_workbench):
    bench = any_workbench()
    (bench.source / "all" / "there is").mkdir(parents=True)
    inner = bench.back_up(bench.source / "all" / "there is")
    options = {"parent_id": inner.id, "skips_unchanged": True}
    assert bench.back_up(bench.source / "all", **options).id != inner.id


@pytest.mark.thorough  # the kit says most of it
def test_the_root_of_the_file_system_is_a_root(any_workbench):
    """Only what stands in it is chosen, or it would be much."""
    bench = any_workbench()
    fill(bench.source)
    first = bench.repository.backup(bench.scanner(Path("/"), excludes=("/*",)), SKIP)
    assert not first.is_skipped
    again = bench.repository.backup(bench.scanner(Path("/"), excludes=("/*",)), SKIP)
    assert (again.is_skipped, again.snapshot) == (True, first.snapshot)


@pytest.mark.parametrize("number", [0, 1], ids=["files", "trees"])
def test_what_the_snapshot_lacks_is_stored_again_all_the_same(restic_bench, number):
    """Back up once more, says the way out of damage, and that must not be skipped."""
    bench = restic_bench
    tree = {b"/home/one": os.urandom(10_000), b"/home/two/three": b"3"}

    def back_up():
        # In memory nobody changes the folders above, whose trees could not be made once more.
        settings = MemoryScannerSettings(roots=(b"/home",))
        return bench.repository.backup(MemoryScanner(tree, settings, bench.surroundings), SKIP)

    first = back_up()
    packs = [name for name in bench.bucket.objects if name.startswith("data/")]
    packs.sort(key=lambda name: len(bench.transport.read(name)), reverse=True)
    assert len(packs) == 2
    bench.transport.delete(packs[number])
    bench.repository.repair_index()
    assert not bench.repository.check().is_clean
    shutil.rmtree(bench.surroundings.cache_folder)
    result = back_up()
    # With what cannot be read nothing can be compared.
    assert result.is_skipped == (number == 0) == (result.snapshot == first.snapshot)
    assert result.counts.stored_bytes > 0
    assert result.objects
    assert bench.repository.check(read_data=True).is_clean


def test_a_file_that_breaks_off_again_leaves_no_archive(workbench):
    bench = workbench(clock=AheadClock())
    (bench.source / "large").write_bytes(os.urandom(3 << 20))
    (bench.source / "small").write_bytes(b"small")
    bad = os.fsencode(bench.source / "large")

    def refuse(step: str, path: bytes, offset: int) -> None:
        if (step, path) == ("read", bad) and offset >= 2 << 20:
            raise EntryUnreadable("the disk is broken")

    def back_up():
        return bench.repository.backup(HookedScanner(bench.scanner(), refuse), SKIP)

    first = back_up()
    assert (first.is_skipped, first.counts.problems) == (False, 1)
    before = bench.bucket.objects
    again = back_up()
    assert (again.is_skipped, again.counts.problems, again.objects) == (True, 1, ())
    assert bench.bucket.objects == before


def test_a_full_backup_that_is_due_is_made_and_said(workbench):
    bench = workbench(settings=TargzSettings(increments=1))
    (bench.source / "file").write_bytes(b"1")
    bench.back_up()
    (bench.source / "file").write_bytes(b"2")
    second = bench.back_up()
    full = skip(bench)
    assert (full.is_skipped, full.snapshot.parent_id) == (False, None)
    assert full.snapshot.id != second.id
    assert skip(bench).snapshot == full.snapshot
