"""Backups with further processes come to the same, and lose nothing when one of those ends."""

import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe

import pytest
from attrs import define, evolve

from backapp_core.errors import DamagedRepository, RunCancelled, TransportUnavailable, WorkerLost
from backapp_core.events import Problem
from backapp_core.model.compressions import Compression
from backapp_core.model.jobs import BackupOptions
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.hooked_scanner import HookedScanner
from backapp_core.testing.hostile_tree import hostile_tree
from backapp_plugins.archivers.restic import listing
from backapp_plugins.archivers.restic.backup import collecting, small_files
from backapp_plugins.archivers.restic.backup.old_trees import OldNodes
from backapp_plugins.archivers.restic.backup.small_file_reading import SmallFileReading
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.workers import crew as crews
from backapp_plugins.archivers.restic.workers.worker import Service, Worker
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

if sys.platform == "win32":
    pytest.skip("workers are started where sockets can be inherited", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("watched")


@pytest.fixture
def bench(restic_bench):
    for number in range(40):
        (restic_bench.source / f"file {number}").write_bytes(b"%d" % number * 500)
    return restic_bench


def _alone(bench):
    return bench.open(threads=1)


def _require_clean(bench) -> None:
    assert bench.repository.check(read_data=True).findings == ()
    assert not [name for name in bench.bucket.objects if name.startswith("locks/")]


def _trees(bench) -> set[str]:
    return {each.id for each in bench.repository.snapshots()}


def test_a_hostile_tree_comes_to_the_same_tree(restic_bench, watched):
    hostile_tree().write(restic_bench.source)
    by_itself = restic_bench.back_up(repository=_alone(restic_bench))
    assert not watched.lent
    snapshot = restic_bench.back_up(rereads_all=True)
    assert watched.lent
    assert snapshot.counts.files_unmodified == snapshot.counts.files
    assert _tree_of_source(restic_bench, snapshot) == _tree_of_source(restic_bench, by_itself)
    _require_clean(restic_bench)


def test_a_hostile_tree_is_stored_by_workers(restic_bench, watched):
    hostile_tree().write(restic_bench.source)
    facts = restic_bench.facts()
    snapshot = restic_bench.back_up()
    assert watched.lent
    assert restic_bench.differences(snapshot, facts) == []
    _require_clean(restic_bench)


@pytest.mark.parametrize("is_by_workers", [True, False])
def test_contents_are_compressed_as_hard_as_is_wished(bench, watched, random_bytes, is_by_workers):
    word, stored_bytes = random_bytes(600), {}
    small, large = (bench.source / name for name in ("file 0", "large"))
    for number, compression in enumerate(Compression):
        small.write_bytes(b"%d" % number + word * 100)
        large.write_bytes(b"%d" % number + word * 2_000)  # cut, by this process
        around = {"compression": compression, **({} if is_by_workers else {"threads": 1})}
        snapshot = bench.back_up(repository=bench.open(**around), is_full=True)
        stored_bytes[compression] = snapshot.counts.stored_bytes
        assert bench.differences(snapshot, bench.facts()) == []
    assert bool(watched.lent) is is_by_workers
    content = 600 * 2_100
    assert stored_bytes[Compression.OFF] > content
    assert stored_bytes[Compression.AUTO] < content / 50
    _require_clean(bench)


def test_trees_are_compressed_in_any_case(bench):
    for number in range(400):
        (bench.source / f"empty {number}").touch()
    plain = bench.back_up(repository=bench.open(compression=Compression.OFF))
    (bench.source / "one more").touch()
    packed = bench.back_up()
    assert plain.counts.stored_bytes < 40 * 1_000 + 2 * packed.counts.stored_bytes


def test_a_changed_file_among_unchanged_ones_is_saved(bench, watched):
    bench.back_up()
    (bench.source / "file 7").write_bytes(b"changed")
    facts = bench.facts()
    snapshot = bench.back_up()
    assert watched.lent == 2
    assert (snapshot.counts.files_changed, snapshot.counts.read_bytes) == (1, 7)
    assert bench.differences(snapshot, facts) == []


def test_equal_files_are_stored_once(bench, random_bytes):
    content = random_bytes(100_000)
    for number in range(30):
        (bench.source / f"equal {number}").write_bytes(content)
    facts = bench.facts()
    snapshot = bench.back_up()
    assert snapshot.counts.stored_bytes < 2 * len(content)
    assert bench.differences(snapshot, facts) == []
    _require_clean(bench)


def test_workers_are_gone_when_a_backup_has_ended(bench, watched):
    bench.back_up()
    assert len(watched.workers) == bench.surroundings.threads
    assert all(worker._process.returncode is not None for worker in watched.workers)
    assert all(worker.connection.closed for worker in watched.workers)


def test_workers_that_end_before_they_took_anything_over_cost_nothing(bench, watched, monkeypatch):
    borrow = crews.Crew.borrow

    def killed(crew: crews.Crew, work: int) -> Worker | None:
        worker = borrow(crew, work)
        watched.kill()
        return worker

    monkeypatch.setattr(crews.Crew, "borrow", killed)
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []
    _require_clean(bench)


def test_a_worker_that_ends_with_what_it_took_over_ends_the_run(bench, watched, monkeypatch):
    save_made = BlobSaver.save_made

    def killed(saver: BlobSaver, kind, ids, sizes, make) -> None:
        def make_nothing(new):
            watched.kill()
            return make(new)

        save_made(saver, kind, ids, sizes, make_nothing)

    with monkeypatch.context() as patch:
        patch.setattr(BlobSaver, "save_made", killed)
        with pytest.raises(WorkerLost, match="killed by signal 9 before it was done"):
            bench.back_up()
    assert _trees(bench) == set()
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []
    _require_clean(bench)


def test_a_run_that_fails_elsewhere_ends_and_leaves_no_worker(bench, watched, monkeypatch):
    for folder in range(20):  # more work than there are threads
        (bench.source / f"{folder}").mkdir()
        for number in range(40):
            (bench.source / f"{folder}" / f"{number}").write_bytes(b"%d %d" % (folder, number))
    monkeypatch.setattr(collecting, "_PART_ENTRIES", 10)

    def refuse(*_: object) -> None:
        raise TransportUnavailable("the destination does not answer")

    monkeypatch.setattr(BlobSaver, "save_made", refuse)
    with pytest.raises(TransportUnavailable):
        bench.back_up()
    assert watched.workers
    assert all(worker._process.returncode is not None for worker in watched.workers)


def test_where_no_worker_can_be_started_the_backup_is_made_without(bench, watched, monkeypatch):
    for interpreter in ("/nowhere/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", interpreter)
        (bench.source / "more").write_text(interpreter)
        facts = bench.facts()
        assert bench.differences(bench.back_up(), facts) == []
    assert not watched.lent
    _require_clean(bench)


def test_files_that_change_under_way_are_treated_as_without_workers(
    bench, watched, monkeypatch, random_bytes
):
    by_directory = small_files._by_directory
    grown = random_bytes(600_000)

    def meanwhile(files):
        (bench.source / "file 1").write_bytes(grown)
        (bench.source / "file 2").unlink()
        (bench.source / "file 3").unlink()
        (bench.source / "file 3").symlink_to("file 4")
        (bench.source / "file 5").write_bytes(b"")
        return by_directory(files)

    monkeypatch.setattr(small_files, "_by_directory", meanwhile)
    snapshot = bench.back_up()
    assert watched.lent
    problems = {os.path.basename(path): text for path, text in _problems(bench).items()}
    assert set(problems) == {b"file 2", b"file 3"}
    assert "vanished" in problems[b"file 2"]
    assert "replaced" in problems[b"file 3"]
    top, _ = bench.extract(snapshot)
    there = top / bench.source.relative_to("/")
    assert (there / "file 1").read_bytes() == grown
    assert (there / "file 5").read_bytes() == b""
    assert not (there / "file 2").exists()


def test_a_directory_that_was_moved_away_is_read_all_the_same(bench, watched, monkeypatch):
    folder = bench.source / "folder"
    folder.mkdir()
    (folder / "inside").write_bytes(b"the right one")
    by_directory = small_files._by_directory

    def meanwhile(files):
        if folder.exists():
            folder.rename(bench.folder / "elsewhere")
            (bench.folder / "trap").mkdir()
            (bench.folder / "trap" / "inside").write_bytes(b"another one!!")
            folder.symlink_to(bench.folder / "trap")
        return by_directory(files)

    monkeypatch.setattr(small_files, "_by_directory", meanwhile)
    top, _ = bench.extract(bench.back_up())
    assert watched.lent
    inside = top / bench.source.relative_to("/") / "folder" / "inside"
    assert inside.read_bytes() == b"the right one"


def test_a_scanner_whose_directories_stay_here_is_read_here(bench, watched):
    scanner = HookedScanner(bench.scanner(), lambda *_: None)
    facts = bench.facts()
    options = BackupOptions(hostname="host", username="user")
    snapshot = bench.repository.backup(scanner, options).snapshot
    assert not watched.workers
    assert bench.differences(snapshot, facts) == []


def test_whoever_waits_for_a_worker_can_be_stopped(bench, monkeypatch):
    cancel = CancelToken()
    repository = bench.open(cancel=cancel)
    borrow = crews.Crew.borrow
    kept: list[Worker | None] = []

    def keep_all(crew: crews.Crew, work: int) -> Worker | None:
        while len(kept) < crew.size:
            kept.append(borrow(crew, work))
        threading.Timer(0.1, cancel.cancel).start()
        return borrow(crew, work)

    monkeypatch.setattr(crews.Crew, "borrow", keep_all)
    around = evolve(bench.surroundings, cancel=cancel)
    with pytest.raises(RunCancelled):
        repository.backup(
            bench.scanner(surroundings=around), BackupOptions(hostname="host", username="user")
        )
    assert _trees(bench) == set()


@pytest.mark.parametrize("has_taken_over", [False, True])
def test_whoever_waits_for_a_frozen_worker_can_be_stopped(
    bench, watched, monkeypatch, has_taken_over
):
    cancel = CancelToken()
    repository = bench.open(cancel=cancel)
    borrow, save_made = crews.Crew.borrow, BlobSaver.save_made

    def freeze() -> None:
        for worker in watched.workers:
            os.kill(worker._process.pid, signal.SIGSTOP)
        threading.Timer(0.1, cancel.cancel).start()

    def frozen(crew: crews.Crew, work: int) -> Worker | None:
        worker = borrow(crew, work)
        if not has_taken_over:
            freeze()
        return worker

    def frozen_later(saver: BlobSaver, kind, ids, sizes, make) -> None:
        def make_nothing(new):
            freeze()
            return make(new)

        save_made(saver, kind, ids, sizes, make_nothing)

    monkeypatch.setattr(crews.Crew, "borrow", frozen)
    monkeypatch.setattr(BlobSaver, "save_made", frozen_later)
    around = evolve(bench.surroundings, cancel=cancel)
    with pytest.raises(RunCancelled):
        repository.backup(
            bench.scanner(surroundings=around), BackupOptions(hostname="host", username="user")
        )
    assert watched.lent
    assert watched.are_gone
    assert _trees(bench) == set()


@define
class Babbling(Service):
    """Answers with more than fits into a socket, however often."""

    def serve(self, connection):
        while True:
            connection.send_bytes(bytes(8 << 20))


@pytest.mark.parametrize("is_asked", [False, True])
def test_no_message_is_too_long_for_a_run_to_be_stopped_in_the_middle_of_it(
    is_asked, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
):
    monkeypatch.syspath_prepend(pytestconfig.rootpath)  # the worker imports this module
    cancel = CancelToken()
    with crews.Crew(Babbling(), 1, cancel.check, start_at=0) as crew:
        crew.prepare(1)
        assert crew.is_serving()
        worker = crew.borrow(0)
        assert worker.connection.poll(60)
        os.kill(worker._process.pid, signal.SIGSTOP)  # most of its message is on its side
        threading.Timer(0.1, cancel.cancel).start()
        asked = partial(worker.connection.send_bytes, bytes(8 << 20))
        with pytest.raises((EOFError, OSError)):
            (asked if is_asked else worker.connection.recv_bytes)()
        crew.dismiss(worker)


def _problems(bench) -> dict[bytes, str]:
    return {one.path: one.reason for one in bench.recording.of(Problem)}


def test_a_worker_on_a_machine_that_alters_what_it_makes_says_so(monkeypatch):
    def refuse(*_: object) -> None:
        raise DamagedRepository("blob ab does not come back")

    monkeypatch.setattr(BlobCodec, "encode_all", refuse)
    ours, theirs = Pipe()
    service = SmallFileReading(MasterKey(bytes(32), bytes(16), bytes(16)), Compression.AUTO)
    serving = threading.Thread(target=_serve, args=(service, theirs))
    serving.start()
    for _ in range(2):  # it goes on
        ours.send([])
        assert ours.recv() == ([], b"")
        with pytest.raises(DamagedRepository, match="blob ab does not come back"):
            small_files._ask(ours, [])
    ours.close()
    serving.join()


def _serve(service, connection) -> None:
    with suppress(EOFError):
        service.serve(connection)


def _tree_of_source(bench, snapshot) -> bytes:
    place = bench.repository._place
    index, tree = place.load_index(), listing.find_record(place, snapshot.id).tree
    for name in os.fsencode(bench.source).split(b"/")[1:]:
        node = OldNodes(place.read_blob(index, BlobKind.TREE, tree)).get(name)
        tree = node.subtree_id()
    return tree
