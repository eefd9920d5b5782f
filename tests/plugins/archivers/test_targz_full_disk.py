"""A full disk fails the run and nothing else, and space can always be freed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_disks import fill_up

from backapp_core.errors import StorageFull, TransportUnavailable
from backapp_core.events import LogLine
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase, RecordingTransport, raising
from backapp_plugins.transports.folder import FolderSettings, open_folder

pytestmark = pytest.mark.thorough

DISK_BYTES = 4 << 20


@pytest.fixture
def small_disk(mount_small: Callable[[int], Path]) -> Path:
    return mount_small(DISK_BYTES)


@pytest.fixture
def on_disk(workbench, small_disk, tmp_path, random_bytes):
    """Return a workbench whose repository is on the small disk, with one snapshot."""
    probe = workbench()
    transport = open_folder(FolderSettings(small_disk / "repository"), probe.surroundings)
    bench = workbench(transport=transport)
    (bench.source / "small").write_bytes(random_bytes(100_000))
    bench.disk = small_disk
    bench.first = bench.back_up()
    bench.first_facts = bench.facts()
    return bench


def _left(bench) -> set[str]:
    folder = bench.disk / "repository"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_source_larger_than_the_disk_fails_and_leaves_nothing(on_disk, random_bytes):
    before = _left(on_disk)
    (on_disk.source / "large").write_bytes(random_bytes(DISK_BYTES * 2))
    for _ in range(2):
        with pytest.raises(StorageFull):
            on_disk.back_up()
        assert _left(on_disk) == before
    (on_disk.source / "large").write_bytes(random_bytes(1000))
    facts = on_disk.facts()
    assert on_disk.differences(on_disk.back_up(), facts) == []
    assert on_disk.differences(on_disk.first, on_disk.first_facts) == []
    assert on_disk.repository.check(read_data=True).findings == ()


def test_what_was_stored_before_the_disk_was_full_is_given_back(on_disk, random_bytes):
    before = _left(on_disk)
    (on_disk.source / "fits").write_bytes(random_bytes(3 << 20))
    # The archive fits, the list of very many entries does not any more.
    for number in range(20_000):
        (on_disk.source / f"{random_bytes(8).hex()}-{number}").touch()
    filler = on_disk.disk / "filler"
    filler.write_bytes(bytes(300_000))
    with pytest.raises(StorageFull):
        on_disk.back_up()
    assert _left(on_disk) == before


def test_space_is_freed_on_a_disk_without_a_single_byte_left(on_disk, random_bytes):
    (on_disk.source / "second").write_bytes(random_bytes(100_000))
    facts = on_disk.facts()
    second = on_disk.back_up(is_full=True)
    filler = fill_up(on_disk.disk)
    with pytest.raises(StorageFull):
        on_disk.back_up()
    on_disk.forget(on_disk.first)
    assert on_disk.repository.snapshots() == [second]
    on_disk.clean_up()
    assert not [name for name in _left(on_disk) if name.startswith("locks/")]
    assert on_disk.repository.check(read_data=True).findings == ()
    on_disk.back_up()
    filler.unlink()
    assert on_disk.differences(second, facts) == []


def test_a_clean_up_without_room_for_a_lock_says_so_and_works(on_disk, random_bytes):
    on_disk.back_up(is_full=True)
    on_disk.forget(on_disk.first)
    name = "archives/20200101T000000Z-0000000000000000-full.tar.gz"
    on_disk.transport.put(name, [random_bytes(10_000)])
    fill_up(on_disk.disk)
    on_disk.clean_up()
    assert name not in _left(on_disk)
    said = [line.text for line in on_disk.recording.of(LogLine)]
    assert any("without a lock" in text for text in said)


@pytest.mark.parametrize("error", [StorageFull("full"), TransportUnavailable("gone")])
@pytest.mark.parametrize("phase", list(Phase))
def test_a_put_that_fails_at_any_number_fails_the_run_only(bench, random_bytes, error, phase):
    (bench.source / "file").write_bytes(random_bytes(3000))
    bench.back_up()
    (bench.source / "file").write_bytes(random_bytes(3001))
    facts = bench.facts()
    counted = RecordingTransport(MemoryTransport(bench.bucket))
    bench.back_up(repository=bench.open(counted))
    puts = counted.count("put")
    assert puts == 4  # lock, archive, manifest, record
    fired = 0
    for number in range(1, puts + 1):
        left = number

        def strike(operation, now):
            nonlocal left, fired
            if operation.verb == "put" and now is phase:
                left -= 1
                if left == 0:
                    fired += 1
                    raising(error)()

        snapshots = bench.repository.snapshots()
        repository = bench.open(FaultyTransport(MemoryTransport(bench.bucket), strike))
        with pytest.raises(type(error)):
            bench.back_up(repository=repository, is_full=True)
        new = len(bench.repository.snapshots()) - len(snapshots)
        # Only the record may stand there although the destination said that it does not.
        assert new == (1 if number == puts and phase is Phase.AFTER else 0)
        assert not [name for name in bench.bucket.objects if name.startswith("locks/")]
        assert bench.repository.check(read_data=True).is_clean
    assert fired == puts
    assert bench.differences(bench.back_up(), facts) == []
    bench.clean_up()
    assert bench.repository.check(read_data=True).findings == ()
