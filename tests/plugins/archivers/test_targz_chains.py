"""When a chain goes on, when a new one begins, and what is said about it."""

import io
import shutil
import tarfile

import pytest

from backapp_core.errors import DamagedRepository, SnapshotNotFound
from backapp_core.events import Level, LogLine
from backapp_core.ports.surroundings import NO_KEYS
from backapp_plugins.archivers.targz.settings import TargzSettings


def _said(bench, level: Level) -> list[str]:
    return [line.text for line in bench.recording.of(LogLine) if line.level is level]


def _names(bench, sort: str) -> list[str]:
    return sorted(name for name in bench.bucket.objects if name.startswith(sort))


@pytest.mark.parametrize("increments", [0, 1, 3])
def test_a_new_full_backup_follows_the_set_number_of_increments(
    workbench, random_bytes, increments
):
    bench = workbench(settings=TargzSettings(increments=increments))
    (bench.source / "ballast").write_bytes(random_bytes(20_000))
    fulls = []
    for number in range(2 * increments + 2):
        (bench.source / "file").write_bytes(b"%d" % number)
        snapshot = bench.back_up()
        fulls.append(snapshot.parent_id is None)
    assert fulls == ([True] + [False] * increments) * 2
    assert any("last full backup" in text for text in _said(bench, Level.INFO))


def test_a_new_full_backup_begins_when_the_increments_outweigh_it(bench, random_bytes):
    (bench.source / "ballast").write_bytes(random_bytes(10_000))
    parents = []
    for _ in range(5):
        (bench.source / "file").write_bytes(random_bytes(4_000))
        parents.append(bench.back_up().parent_id is None)
    # 14 kB stand there; three increments of 4 kB and their headers weigh less, four weigh more.
    assert parents == [True, False, False, False, False]
    (bench.source / "file").write_bytes(random_bytes(4_000))
    assert bench.back_up().parent_id is None
    assert any("larger than the full backup" in text for text in _said(bench, Level.INFO))


@pytest.mark.parametrize("harm", ["delete", "cut"])
def test_a_harmed_archive_in_the_chain_means_a_new_full_backup_and_a_warning(bench, harm):
    (bench.source / "file").write_bytes(b"1")
    first = bench.back_up()
    (name,) = first.archives
    data = bench.bucket.objects[name]
    bench.transport.delete(name)
    if harm == "cut":
        bench.transport.put(name, [data[:-1]])
    facts = bench.facts()
    second = bench.back_up()
    assert second.parent_id is None
    assert not set(second.archives) & set(first.archives)
    assert bench.differences(second, facts) == []
    assert any(name in text for text in _said(bench, Level.WARNING))


def test_a_harmed_manifest_means_a_new_full_backup_and_a_warning(bench):
    (bench.source / "file").write_bytes(b"1")
    bench.back_up()
    (name,) = _names(bench, "manifests/")
    bench.transport.put(name, [bench.bucket.objects[name][:-1] + b"\1"], replace=True)
    shutil.rmtree(bench.surroundings.cache_folder)
    assert bench.back_up().parent_id is None
    assert any(name in text for text in _said(bench, Level.WARNING))


def test_a_lost_cache_costs_a_plain_repository_nothing(bench):
    (bench.source / "file").write_bytes(b"1")
    bench.back_up()
    shutil.rmtree(bench.surroundings.cache_folder)
    snapshot = bench.back_up()
    assert snapshot.parent_id is not None
    assert snapshot.counts.read_bytes == 0


def test_a_machine_without_identity_goes_on_from_its_cache_and_says_when_it_is_lost(
    workbench, sealed
):
    bench = workbench(**sealed)
    (bench.source / "file").write_bytes(b"1")
    bench.back_up()
    writer = bench.open(keys=NO_KEYS)
    assert bench.back_up(repository=writer).parent_id is not None
    assert not _said(bench, Level.WARNING)
    shutil.rmtree(bench.surroundings.cache_folder)
    assert bench.back_up(repository=writer).parent_id is None
    assert any("cache" in text and "lost" in text for text in _said(bench, Level.WARNING))
    shutil.rmtree(bench.surroundings.cache_folder)
    assert bench.back_up().parent_id is not None
    assert bench.repository.check(read_data=True).findings == ()


def test_an_unchanged_source_adds_no_archive_and_reads_nothing(bench):
    (bench.source / "file").write_bytes(b"1")
    (bench.source / "empty").mkdir()
    first = bench.back_up()
    second = bench.back_up()
    above = {str(folder)[1:] for folder in bench.source.parents}
    for name in set(second.archives) - set(first.archives):
        # The folders above the source may have changed, for others work there.
        with tarfile.open(fileobj=io.BytesIO(bench.bucket.objects[name])) as archive:
            assert set(archive.getnames()) <= above | {"."}
    assert second.counts.read_bytes == 0


def test_metadata_that_changed_costs_no_content(bench, random_bytes):
    (bench.source / "large").write_bytes(random_bytes(3_000_000))
    (bench.source / "small").write_bytes(random_bytes(300_000))
    sparse = bench.source / "sparse"
    with sparse.open("wb") as file:
        file.seek(1 << 20)
        file.write(random_bytes(300_000))
        file.truncate(8 << 20)
    bench.back_up()
    for path in bench.source.iterdir():
        path.chmod(0o600)
    facts = bench.facts()
    snapshot = bench.back_up()
    assert snapshot.counts.stored_bytes < 20_000
    assert snapshot.counts.files_changed == 3
    assert bench.differences(snapshot, facts) == []


def test_a_parent_that_is_no_snapshot_is_refused(bench):
    with pytest.raises(SnapshotNotFound):
        bench.back_up(parent_id="0" * 64)


def test_a_retag_that_was_cut_short_is_finished_by_the_next_one(bench):
    first = bench.back_up()
    name = f"snapshots/{first.id}.json"
    data = bench.bucket.objects[name]
    second = bench.repository.retag(first, ("x",))
    bench.transport.put(name, [data])
    assert list(bench.repository.snapshots()) == [second]
    assert bench.repository.retag(first, ("x",)) == second
    bench.transport.put(name, [data])
    third = bench.repository.retag(second, ("y",))
    assert list(bench.repository.snapshots()) == [third]
    assert _names(bench, "snapshots/") == [f"snapshots/{third.id}.json"]


def test_a_removed_snapshot_takes_all_its_replaced_records_with_it(bench):
    snapshot = bench.back_up()
    records = {}
    for tag in "abc":
        records.update(
            (name, data)
            for name, data in bench.bucket.objects.items()
            if name.startswith("snapshots/")
        )
        snapshot = bench.repository.retag(snapshot, (tag,))
    for name, data in records.items():
        bench.transport.put(name, [data], replace=True)
    assert list(bench.repository.snapshots()) == [snapshot]
    bench.forget(snapshot)
    assert list(bench.repository.snapshots()) == []
    assert _names(bench, "snapshots/") == []


def test_a_damaged_record_hinders_pruning_and_not_forgetting(bench):
    (bench.source / "file").write_bytes(b"1")
    lost, kept = bench.back_up(is_full=True), bench.back_up(is_full=True)
    bench.transport.put(f"snapshots/{lost.id}.json", [b"{"], replace=True)
    before = dict(bench.bucket.objects)
    for verb in (bench.repository.plan_clean_up, bench.clean_up):
        with pytest.raises(DamagedRepository, match=lost.id):
            verb()
    assert bench.bucket.objects == before
    bench.forget(kept)
    assert list(bench.repository.snapshots()) == []
