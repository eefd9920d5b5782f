"""The real restic and this archiver work on one repository, and neither notices the other."""

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from backapp_core.clock import SystemClock
from backapp_core.errors import InputError, RepositoryLocked
from backapp_core.model.compressions import Compression
from backapp_core.model.repositories import CleanUpOptions
from backapp_core.testing.fakes import FrozenClock
from backapp_core.testing.hostile_tree import hostile_tree
from backapp_core.testing.trees import Item, tree_differences
from backapp_plugins.archivers.restic.settings import ResticSettings
from backapp_plugins.transports.folder import FolderSettings, open_folder

pytestmark = pytest.mark.interop
if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("owners and devices need root", allow_module_level=True)

_Result = TypeVar("_Result")
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns")
LOST_BY_RESTIC = {
    b"attributes/of a link",
    b"links/hard symlink",
    b"links/hard symlink too",
    b"links/not utf-8",
    b"special/hard fifo",
    b"special/hard fifo too",
    b"special/socket",
    b"times/after 2262 folder",
}


def _is_kept_by_restic(path: bytes, item: Item) -> bool:
    # restic can neither open paths of more than 4,096 bytes, nor skip the holes of a terabyte.
    return (
        path not in LOST_BY_RESTIC
        and not path.startswith(b"deep")
        and (item.size_bytes or 0) < 1 << 30
    )


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def quiet_source() -> Iterator[Path]:
    """Return a folder for sources where few others are at work in the folders above."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder) / "source"


def _undisturbed(source: Path, action: Callable[[], _Result]) -> _Result:
    """Return what ``action`` does while nobody changes the folders above, which are stored, too."""
    for _ in range(20):
        before = [folder.stat().st_ctime_ns for folder in source.parents]
        result = action()
        if [folder.stat().st_ctime_ns for folder in source.parents] == before:
            return result
    pytest.fail(f"somebody changes the folders above {source} all the time")


@pytest.fixture
def both(restic_workbench, restic_at, quick_folder) -> Callable[..., tuple[object, object]]:
    """Return a function that makes a bench and restic at the same repository, by default ours."""

    def make(*, by_restic: tuple[str, ...] | None = None, **choices: object):
        folder = quick_folder / "repository"
        restic = restic_at(folder)
        if by_restic is not None:
            restic.run("init", *by_restic)
        transport = open_folder(FolderSettings(folder), restic_workbench().surroundings)
        return restic_workbench(transport=transport, **{"clock": SystemClock(), **choices}), restic

    return make


def _restored_by_restic(bench, restic, snapshot_id: str) -> list[str]:
    target = bench.folder / "by restic"
    restic.run("restore", snapshot_id, "--target", target)
    found = tree_differences(bench.source, target / bench.source.relative_to("/"))
    shutil.rmtree(target)
    return found


def test_restic_checks_and_restores_the_hostile_tree_from_our_repository(both, zone):
    bench, restic = both()
    hostile_tree().only(_is_kept_by_restic).write(bench.source)
    snapshot = bench.back_up()
    restic.run("check", "--read-data")
    (listed,) = restic.snapshots()
    assert listed["id"] == snapshot.id
    assert (listed["hostname"], listed["username"]) == ("host", "user")
    assert listed["paths"] == [str(bench.source)]
    assert _restored_by_restic(bench, restic, snapshot.id) == []
    assert zone == os.environ["TZ"]


@pytest.mark.parametrize("compression", [Compression.OFF, Compression.MAX])
def test_restic_reads_what_was_compressed_hardly_or_hard(both, compression):
    bench, restic = both()
    hostile_tree().only(_is_kept_by_restic).write(bench.source)
    snapshot = bench.back_up(repository=bench.open(compression=compression))
    restic.run("check", "--read-data")
    assert _restored_by_restic(bench, restic, snapshot.id) == []


def test_restic_takes_all_of_the_hostile_tree_that_it_knows_of(both):
    bench, restic = both()
    hostile_tree().only(lambda _, item: (item.size_bytes or 0) < 1 << 30).write(bench.source)
    bench.back_up()
    restic.run("check", "--read-data")
    listed = restic.run("ls", "--long", "latest")
    assert "/special/socket" in listed
    assert "/times/after 2262 folder" in listed
    assert listed.count("\n") > 200


def test_a_backup_by_restic_on_top_of_ours_adds_nothing(both, zone, quiet_source):
    bench, restic = both(source=quiet_source)
    hostile_tree().only(_is_kept_by_restic).write(bench.source)
    summary = _undisturbed(
        bench.source,
        lambda: (bench.back_up(), restic.back_up("--host", "host", bench.source))[1],
    )
    assert summary["data_added"] == 0
    assert (summary["files_new"], summary["files_changed"]) == (0, 0)
    assert (summary["data_blobs"], summary["tree_blobs"]) == (0, 0)
    first, second = restic.snapshots()[-2:]
    assert second["parent"] == first["id"]
    assert second["tree"] == first["tree"]
    assert zone == os.environ["TZ"]


def test_our_backup_on_top_of_one_by_restic_adds_nothing(both, zone, quiet_source):
    clock = FrozenClock(datetime.now(UTC) + timedelta(hours=1))
    bench, restic = both(by_restic=(), source=quiet_source, clock=clock)
    hostile_tree().only(_is_kept_by_restic).write(bench.source)

    def back_up():
        clock.advance(60)
        # As if restic had begun later: whatever changed just before a backup is read once more.
        begun = clock.now().astimezone() - timedelta(seconds=30)
        restic.back_up("--host", "host", "--time", f"{begun:%Y-%m-%d %H:%M:%S}", bench.source)
        before = {info.name for info in bench.transport.list("data/")}
        counts = [bench.back_up().counts for _ in range(2)]
        return counts, {info.name for info in bench.transport.list("data/")} - before

    counts, added = _undisturbed(bench.source, back_up)
    assert added == set()
    for counted in counts:
        assert counted.read_bytes == 0
        assert counted.files_unmodified == counted.files > 100
    assert len({one["tree"] for one in restic.snapshots()[-3:]}) == 1
    restic.run("check", "--read-data")
    assert zone == os.environ["TZ"]


def test_a_snapshot_by_restic_is_listed_restored_forgotten_and_cleaned_up(both):
    bench, restic = both(by_restic=())
    hostile_tree().only(_is_kept_by_restic).write(bench.source)
    facts = bench.facts()
    restic.back_up("--host", "host", "--tag", "old", bench.source)
    (bench.source / "incompressible").write_bytes(os.urandom(400_000))
    (bench.source / "names" / "a").unlink()
    changed = bench.facts()
    restic.back_up("--host", "host", bench.source)
    first, second = bench.repository.snapshots()
    assert (first.tags, first.hostname, first.roots) == (
        ("old",),
        "host",
        (os.fsencode(bench.source),),
    )
    assert bench.differences(first, facts) == []
    assert bench.differences(second, changed) == []
    size_bytes = sum(info.size_bytes for info in bench.transport.list("data/"))
    bench.forget(first)
    bench.clean_up()
    assert sum(info.size_bytes for info in bench.transport.list("data/")) < size_bytes - 300_000
    restic.run("check", "--read-data")
    assert bench.differences(second, changed) == []
    assert _restored_by_restic(bench, restic, second.id) == []


def _large_files(source: Path) -> None:
    for number, size in enumerate((512 << 10, (512 << 10) + 1, 3_000_000, 20_000_000)):
        (source / f"large {number}").write_bytes(os.urandom(size))
    (source / "zeros").write_bytes(bytes(10_000_000))
    with (source / "holes").open("wb") as file:
        file.seek(30_000_000)
        file.write(os.urandom(1_000_000))
        file.truncate(50_000_000)


def test_every_tree_is_that_of_restic_if_files_are_cut_as_it_cuts_them(both, quiet_source):
    bench, restic = both(settings=ResticSettings(chunker="rabin"), source=quiet_source)
    _large_files(bench.source)
    (bench.source / "small").write_bytes(b"small")
    # By force, so that restic reads and cuts everything itself.
    snapshot, summary = _undisturbed(
        bench.source,
        lambda: (bench.back_up(), restic.back_up("--force", "--host", "host", bench.source)),
    )
    assert summary["data_added"] == 0
    assert len({one["tree"] for one in restic.snapshots()[-2:]}) == 1
    assert bench.differences(snapshot, bench.facts()) == []


def test_large_files_are_restored_by_restic_however_they_were_cut(both, quiet_source):
    bench, restic = both(source=quiet_source)
    _large_files(bench.source)
    snapshot = bench.back_up()
    assert _restored_by_restic(bench, restic, snapshot.id) == []
    # Unchanged by size and times, so restic takes over what it would have cut elsewhere.
    summary = restic.back_up("--host", "host", bench.source)
    assert (summary["data_blobs"], summary["files_unmodified"]) == (0, 6)
    restic.run("check", "--read-data")


def test_a_repository_of_version_1_is_read_and_not_written(both):
    bench, restic = both(by_restic=("--repository-version", "1"))
    hostile_tree().only(_is_kept_by_restic).write(bench.source)
    facts = bench.facts()
    restic.back_up("--host", "host", bench.source)
    (snapshot,) = bench.repository.snapshots()
    assert bench.differences(snapshot, facts) == []
    before = sorted(info.name for info in bench.transport.list())
    with pytest.raises(InputError, match="copy"):
        bench.back_up()
    assert sorted(info.name for info in bench.transport.list()) == before
    restic.run("check", "--read-data")


def _edit(source: Path, number: int) -> None:
    (source / f"new {number}").write_bytes(os.urandom(20_000 + number))
    (source / "folder").mkdir(exist_ok=True)
    (source / "folder" / f"{number % 5}").write_bytes(os.urandom(700_000))
    (source / f"new {number - 3}").unlink(missing_ok=True)


def _both_write_forget_and_prune(bench, restic, rounds: int) -> None:
    wanted = {}
    for number in range(rounds):
        _edit(bench.source, number)
        facts = bench.facts()
        wanted[bench.back_up().id] = facts
        _edit(bench.source, number + 1)
        facts = bench.facts()
        wanted[restic.back_up("--host", "host", bench.source)["snapshot_id"]] = facts
        listed = bench.repository.snapshots()
        wanted = {one.id: wanted.get(one.id) or wanted[one.id[:8]] for one in listed}
        if number % 2:
            doomed = listed[:-3]
            bench.forget(*doomed)
            bench.clean_up()
        else:
            doomed = listed[1:-2]
            restic.run("forget", "--prune", *[one.id for one in doomed])
        for one in doomed:
            del wanted[one.id]
        restic.run("check", "--read-data")
        snapshots = bench.repository.snapshots()
        assert {one.id for one in snapshots} == set(wanted)
    for snapshot in bench.repository.snapshots():
        assert bench.differences(snapshot, wanted[snapshot.id]) == []
    assert _restored_by_restic(bench, restic, bench.repository.snapshots()[-1].id) == []


def test_both_write_forget_and_prune_in_turn(both):
    _both_write_forget_and_prune(*both(), rounds=4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("by_restic", [None, ()], ids=["ours", "theirs"])
def test_both_write_forget_and_prune_in_turn_for_long(both, by_restic):
    _both_write_forget_and_prune(*both(by_restic=by_restic), rounds=20)


def test_restic_restores_and_compares_what_our_prune_has_copied(both):
    bench, restic = both()
    hostile_tree().only(_is_kept_by_restic).write(bench.source)
    (bench.source / "doomed").write_bytes(os.urandom(900_000))
    first, second = bench.back_up(), None
    (bench.source / "doomed").unlink()
    (bench.source / "names/a").write_bytes(b"edited")
    (bench.source / "added").write_bytes(os.urandom(50_000))
    facts = bench.facts()
    second = bench.back_up()
    (bench.source / "added").unlink()
    (bench.source / "empty").write_bytes(b"not any more")
    (bench.source / "later").symlink_to("empty")
    third = bench.back_up()
    before = {info.name for info in bench.transport.list("data/")}
    wanted = restic.run("diff", second.id, third.id)
    bench.forget(first)
    options = CleanUpOptions(max_unused_bytes=0, repacks_small=True)
    done = bench.repository.clean_up(bench.repository.plan_clean_up(options))
    assert done.repacked_bytes > 300_000
    assert not before <= {info.name for info in bench.transport.list("data/")}
    assert "no errors were found" in restic.run("check", "--read-data")
    assert restic.run("diff", second.id, third.id) == wanted
    signs = {tuple(line.split(maxsplit=1)) for line in wanted.splitlines() if " /" in line}
    changed = {Path(path).name: sign for sign, path in signs if not path.endswith("/")}
    assert changed == {"added": "-", "empty": "M", "later": "+"}
    assert _restored_by_restic(bench, restic, third.id) == []
    assert bench.differences(second, facts) == []
    fresh = restic.back_up("--force", "--host", "host", bench.source)
    assert restic.run("diff", third.id, fresh["snapshot_id"]).count("\n+") == 0


def _names(restic, folder: str) -> list[str]:
    return [path.name for path in (restic.repository / folder).iterdir()]


def test_while_restic_backs_up_we_back_up_and_do_not_prune(both):
    bench, restic = both()
    (bench.source / "file").write_bytes(b"content")
    first = bench.back_up()
    process = restic.start("backup", "--stdin", stdin=-1)
    try:
        while not _names(restic, "locks"):
            assert process.poll() is None
            time.sleep(0.02)
        bench.back_up()
        with pytest.raises(RepositoryLocked, match=f"process {process.pid}"):
            bench.clean_up()
        with pytest.raises(RepositoryLocked, match=f"process {process.pid}"):
            bench.forget(first)
    finally:
        _, complaint = process.communicate(b"from a pipe", timeout=60)
    assert process.returncode == 0, complaint
    bench.forget(first)
    bench.clean_up()
    restic.run("check", "--read-data")
    assert len(restic.snapshots()) == 2


def test_while_restic_prunes_nobody_backs_up(both):
    bench, restic = both()
    (bench.source / "file").write_bytes(b"content")
    bench.back_up()
    lock = bench.folder / "lock of a prune"
    # restic prunes for too short a time to meet it; what stands there while it does is enough.
    with bench.repository._place.hold(is_exclusive=True):
        (name,) = _names(restic, "locks")
        shutil.copy(restic.repository / "locks" / name, lock)
        status, _, complaint = restic.try_to("backup", bench.source)
        assert (status, "already locked exclusively" in complaint) == (1, True)
    assert _names(restic, "locks") == []
    restic.back_up(bench.source)


def test_while_we_back_up_restic_backs_up_and_does_not_prune(both, monkeypatch):
    bench, restic = both()
    (bench.source / "file").write_bytes(b"content")
    said = []
    read_whole = type(next(iter(bench.scanner().scan()))).read_whole

    def pause(self, entry, most_bytes):
        said.append(restic.try_to("backup", "--host", "other", bench.source))
        said.append(restic.try_to("prune"))
        said.append(restic.try_to("forget", "--keep-last", "1"))
        return read_whole(self, entry, most_bytes)

    monkeypatch.setattr(type(next(iter(bench.scanner().scan()))), "read_whole", pause)
    bench.back_up()
    assert [status for status, *_ in said] == [0, 1, 1]
    assert all("already locked by PID" in complaint for *_, complaint in said[1:])
    restic.run("prune")
    restic.run("check", "--read-data")
    assert len(restic.snapshots()) == 2
    assert not stat.S_ISREG(bench.source.stat().st_mode)
