"""A full disk fails the run and nothing else, and space can always be freed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_disks import fill_up

from backapp_core.errors import AccessRefused, StorageFull
from backapp_core.testing.faults import FaultyTransport, Phase
from backapp_plugins.archivers.restic.writing import packing
from backapp_plugins.transports.folder import FolderSettings, open_folder

pytestmark = pytest.mark.thorough

DISK_BYTES = 4 << 20


@pytest.fixture
def small_disk(mount_small: Callable[[int], Path]) -> Path:
    return mount_small(DISK_BYTES)


@pytest.fixture
def on_disk(restic_workbench, small_disk, monkeypatch, random_bytes):
    """Return a bench whose repository is on the small disk, with one snapshot."""
    monkeypatch.setattr(packing, "PACK_BYTES", 400_000)
    probe = restic_workbench()
    transport = open_folder(FolderSettings(small_disk / "repository"), probe.surroundings)
    bench = restic_workbench(transport=transport)
    (bench.source / "small").write_bytes(random_bytes(100_000))
    bench.disk = small_disk
    bench.first = bench.back_up()
    bench.first_facts = bench.facts()
    return bench


def _left(bench) -> set[str]:
    folder = bench.disk / "repository"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("files", [1, 20])
def test_a_source_larger_than_the_disk_fails_and_leaves_nothing(on_disk, random_bytes, files):
    before = _left(on_disk)
    for number in range(files):
        (on_disk.source / f"{number}").write_bytes(random_bytes(DISK_BYTES * 2 // files))
    for _ in range(2):
        with pytest.raises(StorageFull):
            on_disk.back_up()
        assert _left(on_disk) == before
    for number in range(files):
        (on_disk.source / f"{number}").write_bytes(random_bytes(1000))
    facts = on_disk.facts()
    assert on_disk.differences(on_disk.back_up(), facts) == []
    assert on_disk.differences(on_disk.first, on_disk.first_facts) == []
    assert on_disk.repository.check(read_data=True).findings == ()


def test_packs_are_given_back_if_there_is_no_room_for_their_index(on_disk):
    before = _left(on_disk)
    for number in range(20_000):
        (on_disk.source / f"{number}").write_bytes(b"%d" % number)
    large = on_disk.back_up()
    added = {name: on_disk.transport.stat(name).size_bytes for name in _left(on_disk) - before}
    on_disk.forget(large)
    on_disk.clean_up()
    before = _left(on_disk)
    # The packs fit, the list of their blobs does not any more.
    pages = sum(-(-path.stat().st_size // 4096) for path in on_disk.disk.rglob("*"))
    listed_bytes = next(size for name, size in added.items() if name.startswith("index/"))
    wanted_bytes = sum(added.values()) - listed_bytes // 2
    (on_disk.disk / "filler").write_bytes(bytes(DISK_BYTES - 4096 * pages - wanted_bytes))
    with pytest.raises(StorageFull):
        on_disk.back_up()
    assert _left(on_disk) == before


def test_a_full_place_is_called_full_where_nothing_can_be_given_back(
    restic_workbench, random_bytes
):
    """As where no pack may be deleted: the error is still that there is no room."""
    probe = restic_workbench()

    def strike(operation, now):
        if operation.verb == "put" and operation.name.startswith("index/") and now is Phase.BEFORE:
            raise StorageFull("no room")
        if operation.verb == "delete" and operation.name.startswith("data/"):
            raise AccessRefused("only your own locks")

    bench = restic_workbench(transport=FaultyTransport(probe.transport, strike))
    (bench.source / "file").write_bytes(random_bytes(1000))
    with pytest.raises(StorageFull, match="no room"):
        bench.back_up()


def test_space_is_freed_on_a_disk_without_a_single_byte_left(on_disk, random_bytes):
    (on_disk.source / "second").write_bytes(random_bytes(100_000))
    (on_disk.source / "small").write_bytes(random_bytes(100_000))
    facts = on_disk.facts()
    second = on_disk.back_up()
    filler = fill_up(on_disk.disk)
    before = _left(on_disk)
    with pytest.raises(StorageFull):
        on_disk.back_up()
    assert _left(on_disk) == before
    assert on_disk.differences(second, facts) == []
    on_disk.forget(on_disk.first)
    assert on_disk.repository.snapshots() == [second]
    before = _left(on_disk)
    try:
        on_disk.clean_up()
    except StorageFull:
        assert _left(on_disk) == before
    assert not [name for name in _left(on_disk) if name.startswith("locks/")]
    assert on_disk.repository.check(read_data=True).is_clean
    filler.unlink()
    on_disk.clean_up()
    assert on_disk.repository.check(read_data=True).findings == ()
    assert on_disk.differences(second, facts) == []
