"""What is taken for unchanged is unchanged, whatever is tried to make it look so."""

import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from backapp_core.errors import RepositoryLocked
from backapp_core.testing.fakes import FrozenClock, MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase
from backapp_plugins.archivers.restic import listing
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.packs import decode_header, decode_trailer
from backapp_plugins.archivers.restic.format.snapshots import Totals, encode_snapshot
from backapp_plugins.archivers.restic.index.files import encode_index
from backapp_plugins.archivers.restic.writing.saving import BlobSaver


@pytest.fixture
def bench(restic_workbench):
    """Return a bench an hour ahead, so that nothing is read again only because it is young."""
    bench = restic_workbench(clock=FrozenClock(datetime.now(UTC) + timedelta(hours=1)))
    for name in ("one", "two/three", "two/four", "five/six/seven"):
        path = bench.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 100)
    bench.back_up()
    return bench


def _next_tick(bench) -> None:
    scratch = bench.folder / "scratch"
    scratch.touch()
    before = scratch.stat().st_ctime_ns
    while scratch.stat().st_ctime_ns == before:
        scratch.touch()


def _require_noticed(bench, **options: object) -> None:
    facts = bench.facts()
    assert bench.differences(bench.back_up(**options), facts) == []
    assert bench.repository.check(read_data=True).is_clean


def test_nothing_is_read_if_nothing_changed(bench):
    assert bench.back_up().counts.read_bytes == 0
    shutil.rmtree(bench.surroundings.cache_folder)
    assert bench.back_up().counts.read_bytes == 0


@pytest.mark.parametrize("has_memory", [True, False])
def test_beside_a_file_that_changed_no_other_is_read(bench, has_memory):
    _next_tick(bench)
    (bench.source / "two/three").write_bytes(b"edited")
    if not has_memory:
        shutil.rmtree(bench.surroundings.cache_folder)
    counts = bench.back_up().counts
    assert counts.read_bytes == len(b"edited")
    assert (counts.files_changed, counts.files_unmodified) == (1, 3)
    assert bench.repository.check(read_data=True).is_clean


def test_content_alone_is_noticed_with_and_without_a_memory(bench):
    for number in range(4):
        file = bench.source / "two/three"
        before = file.stat()
        _next_tick(bench)
        with file.open("r+b") as opened:
            opened.write(b"%d" % number)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        if number % 2:
            shutil.rmtree(bench.surroundings.cache_folder)
        _require_noticed(bench)


def test_a_file_with_the_number_size_and_time_of_another_is_noticed(bench):
    file = bench.source / "one"
    for number in range(20):
        before = file.stat()
        file.unlink()
        _next_tick(bench)
        file.write_bytes(random.Random(number).randbytes(before.st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        _require_noticed(bench)


def test_two_files_that_change_places_are_noticed(bench):
    three, four = bench.source / "two/three", bench.source / "two/four"
    four.write_bytes(three.read_bytes()[::-1])
    for file in (three, four):
        os.utime(file, ns=(1, 1))
    _require_noticed(bench)
    spare = bench.source / "spare"
    three.rename(spare)
    four.rename(three)
    spare.rename(four)
    for folder in (bench.source, bench.source / "two"):
        os.utime(folder, ns=(1, 1))
    _require_noticed(bench)


def test_folders_that_change_places_are_noticed(bench):
    two, five = bench.source / "two", bench.source / "five"
    spare = bench.source / "spare"
    two.rename(spare)
    five.rename(two)
    spare.rename(five)
    os.utime(bench.source, ns=(1, 1))
    _require_noticed(bench)


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_a_clock_that_was_set_hides_nothing(bench, days):
    clock = bench.surroundings.clock
    clock.set(clock.now() + timedelta(days=days))
    bench.back_up()
    _next_tick(bench)
    (bench.source / "one").write_bytes(b"edited")
    os.utime(bench.source / "one", ns=(1, 1))
    _require_noticed(bench)
    clock.set(clock.now() - timedelta(days=2 * days))
    _next_tick(bench)
    (bench.source / "two/three").write_bytes(b"edited, too")
    _require_noticed(bench)
    _require_noticed(bench)


def test_a_clock_that_jumps_while_a_backup_runs_hides_nothing(bench):
    clock = bench.surroundings.clock
    for days in (365, -365, -365, 365):

        def jump(operation, phase, days=days) -> None:
            if operation.name.startswith("data/") and phase is Phase.BEFORE:
                clock.set(clock.now() + timedelta(days=days))

        (bench.source / "one").write_bytes(b"%d" % days)
        repository = bench.open(FaultyTransport(MemoryTransport(bench.bucket), jump))
        facts = bench.facts()
        snapshot = bench.back_up(repository=repository)
        assert bench.differences(snapshot, facts) == []
        _require_noticed(bench)


def _memory(bench) -> Path:
    (file,) = bench.surroundings.cache_folder.rglob("folders-*")
    return file


def test_a_memory_of_another_snapshot_is_not_believed(bench):
    first = _memory(bench).read_bytes()
    _next_tick(bench)
    (bench.source / "two/three").write_bytes(b"edited")
    bench.back_up()
    _memory(bench).write_bytes(first)
    _require_noticed(bench)
    # The state of the first snapshot again, as far as sizes and times of modification tell.
    _memory(bench).write_bytes(first)
    (bench.source / "two/three").write_bytes(b"two/three" * 100)
    _require_noticed(bench)


def test_a_memory_with_any_flipped_byte_is_not_believed(bench):
    whole = _memory(bench).read_bytes()
    facts = bench.facts()
    for at in range(0, len(whole), 7):
        altered = bytearray(whole)
        altered[at] ^= 1 << at % 8
        _memory(bench).write_bytes(altered)
        snapshot = bench.back_up()
        assert snapshot.counts.files == 4
        bench.forget(snapshot)
    assert bench.differences(bench.back_up(), facts) == []
    assert bench.repository.check(read_data=True).is_clean


@pytest.mark.parametrize("cut", [0, 1, 40, 100])
def test_a_memory_that_was_cut_is_not_believed(bench, cut):
    _memory(bench).write_bytes(_memory(bench).read_bytes()[:cut])
    _require_noticed(bench)


def test_a_cache_that_cannot_be_written_costs_only_time(bench):
    shutil.rmtree(bench.surroundings.cache_folder)
    bench.surroundings.cache_folder.parent.mkdir(exist_ok=True)
    bench.surroundings.cache_folder.write_bytes(b"a file where the folder should be")
    _require_noticed(bench)
    _require_noticed(bench)


def test_what_a_repaired_index_lacks_is_stored_again(bench):
    for pack in [info.name for info in bench.transport.list("data/")]:
        bench.transport.delete(pack)
    bench.repository.repair_index()
    old = bench.repository.snapshots()
    facts = bench.facts()
    new = bench.back_up()
    assert bench.differences(new, facts) == []
    bench.forget(*old)
    bench.clean_up()
    assert bench.repository.check(read_data=True).findings == ()


def test_an_index_that_lacks_a_pack_is_no_reason_to_trust_the_memory(bench):
    """As if another program had left out of the index what nothing seemed to need."""
    place = bench.repository._place
    index = place.load_index()
    table = index.table()
    doomed = [info.name for info in bench.transport.list("index/")]
    trees_only = [
        (bytes.fromhex(info.name[-64:]), entries)
        for info in bench.transport.list("data/")
        for entries in [_entries(place, info)]
        if entries[0].kind is BlobKind.TREE
    ]
    assert len(table) > len(trees_only) > 0
    place.write_document("index/", encode_index(trees_only))
    for name in doomed:
        bench.transport.delete(name)
    facts = bench.facts()
    snapshot = bench.back_up()
    assert snapshot.counts.read_bytes > 0
    assert bench.differences(snapshot, facts) == []


def _entries(place, info):
    data = place.transport.read(info.name)
    length = decode_trailer(data[-4:], len(data))
    return decode_header(place.codec.sealer.open(data[-4 - length : -4]))


MALFORMED = {
    "no id": ("two/three", {"content": ["zz"]}),
    "no list": ("two/three", {"content": None}),
    "no time": ("two/three", {"ctime": "yesterday"}),
    "no time of modification": ("two/three", {"mtime": "yesterday"}),
    "a folder": ("two/three", {"type": "dir"}),
    "an unknown type": ("two/three", {"type": "door"}),
    "another size": ("two/three", {"size": 3}),
    "no tree": ("two", {"subtree": None}),
    "a tree that is no id": ("two", {"subtree": "zz"}),
    "a tree that nobody has": ("two", {"subtree": "ab" * 32}),
}


@pytest.mark.parametrize("is_younger", [False, True])
@pytest.mark.parametrize(("path", "changes"), MALFORMED.values(), ids=MALFORMED)
def test_a_parent_that_makes_no_sense_is_no_parent(bench, path, changes, is_younger):
    """Somebody else wrote a snapshot of this source in which one node is malformed."""
    shutil.rmtree(bench.surroundings.cache_folder)
    place = bench.repository._place
    (last,) = bench.repository.snapshots()
    tree = listing.find_record(place, last.id).tree
    index = place.load_index()
    if is_younger:
        (bench.source / "two/three").touch()

    def altered(tree: bytes, parts: list[str], saver) -> bytes:
        whole = msgspec.json.decode(place.read_blob(index, BlobKind.TREE, tree))
        for node in whole["nodes"]:
            if node["name"] == parts[0]:
                if len(parts) == 1:
                    node.update(changes)
                else:
                    subtree = bytes.fromhex(node["subtree"])
                    node["subtree"] = altered(subtree, parts[1:], saver).hex()
        return saver.save(BlobKind.TREE, msgspec.json.encode(whole))

    with BlobSaver(place, index) as saver:
        root = altered(tree, [*bench.source.parts[1:], *path.split("/")], saver)
        saver.finish()
    now = bench.surroundings.clock.now()
    document = encode_snapshot(last, root, Totals(now, now))
    bench.transport.delete(f"snapshots/{last.id}")
    place.write_document("snapshots/", document)
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []


def test_a_backup_whose_packs_somebody_removed_publishes_nothing(bench):
    """The lock is removed while it runs, and a clean-up takes what no snapshot needs yet."""
    for number in range(3):
        (bench.source / f"new {number}").write_bytes(os.urandom(50_000))
    before = [one.id for one in bench.repository.snapshots()]
    struck = []

    def interfere(operation, phase) -> None:
        is_index = operation.verb == "put" and operation.name.startswith("index/")
        if is_index and phase is Phase.AFTER and not struck:
            struck.append(operation.name)
            for info in list(bench.transport.list("locks/")):
                bench.transport.delete(info.name)
            bench.clean_up()

    repository = bench.open(FaultyTransport(MemoryTransport(bench.bucket), interfere))
    with pytest.raises(RepositoryLocked):
        bench.back_up(repository=repository)
    assert struck
    assert [one.id for one in bench.repository.snapshots()] == before
    _require_noticed(bench)
