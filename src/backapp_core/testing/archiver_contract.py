"""What every archiver must do.

Inherit `ArchiverContract`, supply ``kind`` (and differences), run it with pytest.

The kit needs a POSIX file system. It scans with `PlainScanner`, restores with the engine's
extractor and compares trees with `same_tree`, so nothing of it is shared with the archiver under
test.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import (
    BackappError,
    RepositoryExists,
    RepositoryLocked,
    RunCancelled,
    SourceNotFound,
)
from backapp_core.events import FileDone, Progress, Recording, SnapshotSaved
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import RemovalPlan
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.subsets import DataSubset
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.surroundings import CancelToken, Keys, Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.testing.archiver_fixtures import (
    CHANGES,
    ArchiverFixtures,
    altered,
    copy_tree,
)
from backapp_core.testing.fakes import AheadClock, MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.faults import RecordingTransport
from backapp_core.testing.plain_scanner import PlainScanner
from backapp_core.testing.trees import same_tree

_LATER = pytest.mark.parametrize("clock", [AheadClock()], ids=["later"])
"""For tests in which no change is so recent that a further one could hide behind it."""


class ArchiverContract(ArchiverFixtures):
    """Claims about every archiver."""

    def test_what_was_backed_up_comes_back(
        self, back_up: Callable[..., Snapshot], restored: Callable[[Snapshot], Path], tree: Path
    ) -> None:
        same_tree(tree, restored(back_up()))

    def test_every_point_in_time_comes_back(
        self,
        back_up: Callable[..., Snapshot],
        restored: Callable[[Snapshot], Path],
        tree: Path,
        tmp_path: Path,
    ) -> None:
        points: list[tuple[Snapshot, Path]] = []
        for number, change in enumerate(CHANGES):
            change(tree)
            copy = tmp_path / f"copy-{number}"
            copy_tree(tree, copy)
            points.append((back_up(), copy))
        for snapshot, copy in points:
            same_tree(copy, restored(snapshot))

    def test_a_repository_is_recognised_and_opens_again(
        self,
        kind: ArchiverKind,
        keys: Keys,
        repository: Repository,
        bucket: MemoryBucket,
        back_up: Callable[..., Snapshot],
        surroundings: Surroundings,
    ) -> None:
        snapshot = back_up(tags=("b", "a"))
        assert kind.recognises(MemoryTransport(bucket))
        assert not kind.recognises(MemoryTransport(MemoryBucket()))
        with kind.open(MemoryTransport(bucket), keys, surroundings) as again:
            assert again.info == repository.info
            assert list(again.snapshots()) == [snapshot]
        assert snapshot.tags == ("a", "b")

    def test_a_second_repository_is_refused(
        self,
        kind: ArchiverKind,
        settings: object,
        keys: Keys,
        repository: Repository,
        bucket: MemoryBucket,
        surroundings: Surroundings,
    ) -> None:
        del repository
        before = dict(bucket.objects)
        with pytest.raises(RepositoryExists):
            kind.create(MemoryTransport(bucket), settings, keys, surroundings)
        assert dict(bucket.objects) == before

    def test_nodes_come_in_scan_order_with_their_facts(
        self, repository: Repository, back_up: Callable[..., Snapshot], tree: Path
    ) -> None:
        nodes = list(repository.nodes(back_up()))
        paths = [node.path for node in nodes]
        assert len(set(paths)) == len(paths)
        known: set[bytes] = {b"/"}
        for node in nodes:
            assert node.path == b"/" or (node.path.rpartition(b"/")[0] or b"/") in known
            if node.kind is EntryKind.DIRECTORY:
                known.add(node.path)
        inside = {
            path: node
            for path, node in zip(paths, nodes, strict=True)
            if path.startswith(os.fsencode(tree))
        }
        facts = os.lstat(tree / "big")
        big = inside[os.fsencode(tree / "big")]
        assert (big.size_bytes, big.mtime_ns, big.uid) == (
            facts.st_size,
            facts.st_mtime_ns,
            facts.st_uid,
        )
        assert inside[os.fsencode(tree / "link")].target == b"docs/letter.txt"

    def test_a_selection_limits_nodes_and_restore(
        self,
        repository: Repository,
        back_up: Callable[..., Snapshot],
        surroundings: Surroundings,
        tree: Path,
        tmp_path: Path,
    ) -> None:
        snapshot = back_up()
        wanted = os.fsencode(tree / "docs" / "letter.txt")

        class Only:
            def wants(self, node: Node) -> bool:
                return node.path == wanted

            def enters(self, path: bytes) -> bool:
                return path == b"/" or wanted.startswith(path + b"/")

        assert [node.path for node in repository.nodes(snapshot, Only())] == [wanted]
        top = tmp_path / "some"
        repository.restore(
            snapshot, FolderTarget(os.fsencode(top), ExtractOptions(), surroundings), Only()
        )
        files = [path for path in top.rglob("*") if not path.is_dir()]
        assert files == [top / os.fsdecode(wanted)[1:]]
        assert files[0].read_bytes() == (tree / "docs" / "letter.txt").read_bytes()

    def test_one_file_can_be_read(
        self, repository: Repository, back_up: Callable[..., Snapshot]
    ) -> None:
        snapshot = back_up()
        for node in repository.nodes(snapshot):
            if node.kind is EntryKind.FILE:
                path = os.fsdecode(node.path)
                assert b"".join(repository.read(snapshot, node)) == Path(path).read_bytes()

    @_LATER
    def test_an_unchanged_tree_is_not_read_again(self, back_up: Callable[..., Snapshot]) -> None:
        first = back_up()
        second = back_up()
        assert first.counts.files == second.counts.files == second.counts.files_unmodified
        assert second.counts.read_bytes == 0
        assert second.counts.stored_bytes < first.counts.stored_bytes
        assert second.parent_id == first.id

    @_LATER
    def test_everything_is_read_again_on_request(self, back_up: Callable[..., Snapshot]) -> None:
        first = back_up()
        assert back_up(rereads_all=True).counts.read_bytes == first.counts.read_bytes

    def test_snapshots_are_listed_oldest_first(
        self, repository: Repository, back_up: Callable[..., Snapshot]
    ) -> None:
        made = [back_up(), back_up(hostname="other"), back_up(tags=("x",))]
        assert list(repository.snapshots()) == sorted(made, key=lambda each: each.taken_at)

    def test_events_tell_the_end_and_the_snapshot(
        self, back_up: Callable[..., Snapshot], recording: Recording
    ) -> None:
        snapshot = back_up()
        assert recording.of(SnapshotSaved) == [SnapshotSaved(snapshot)]
        last = recording.of(Progress)[-1]
        assert (last.files_done, last.bytes_done) == (
            snapshot.counts.files,
            snapshot.counts.processed_bytes,
        )

    def test_every_file_is_named_on_request(
        self, back_up: Callable[..., Snapshot], recording: Recording, tree: Path
    ) -> None:
        snapshot = back_up(reports_files=True)
        (tree / "big").write_bytes(b"another content")
        back_up(reports_files=True)
        named = recording.of(FileDone)
        assert {event.action for event in named[: snapshot.counts.files]} == {"new"}
        later = {event.path: event.action for event in named[snapshot.counts.files :]}
        assert later.pop(os.fsencode(tree / "big")) == "changed"
        assert set(later.values()) == {"unmodified"}
        assert len(later) == snapshot.counts.files - 1

    def test_a_removed_snapshot_is_gone_and_the_others_come_back(
        self,
        repository: Repository,
        back_up: Callable[..., Snapshot],
        restored: Callable[[Snapshot], Path],
        tree: Path,
        bucket: MemoryBucket,
    ) -> None:
        first = back_up()
        (tree / "docs" / "new").write_bytes(b"second" * 1000)
        second = back_up()
        repository.remove(RemovalPlan(keep=(second.id,), remove=(first.id,)))
        assert list(repository.snapshots()) == [second]
        cleaned = repository.clean_up(repository.plan_clean_up())
        assert not any(name in bucket.objects for name, _ in cleaned.objects)
        same_tree(tree, restored(second))
        assert repository.check(read_data=True).is_clean

    def test_clean_up_frees_everything_once_nothing_is_left(
        self, repository: Repository, back_up: Callable[..., Snapshot], bucket: MemoryBucket
    ) -> None:
        empty = set(bucket.objects)
        made = [back_up(), back_up()]
        repository.remove(RemovalPlan(keep=(), remove=tuple(each.id for each in made)))
        repository.clean_up(repository.plan_clean_up())
        assert set(bucket.objects) == empty

    def test_other_tags_keep_the_content(
        self,
        repository: Repository,
        back_up: Callable[..., Snapshot],
        restored: Callable[[Snapshot], Path],
        tree: Path,
    ) -> None:
        snapshot = back_up(tags=("old",))
        changed = repository.retag(snapshot, ["new", "new", "also"])
        assert list(repository.snapshots()) == [changed]
        assert changed.tags == ("also", "new")
        assert changed.taken_at == snapshot.taken_at
        same_tree(tree, restored(changed))

    def test_a_missing_source_stores_nothing(
        self,
        repository: Repository,
        surroundings: Surroundings,
        bucket: MemoryBucket,
        tmp_path: Path,
    ) -> None:
        before = set(bucket.objects)
        scanner = PlainScanner(os.fsencode(tmp_path / "nowhere"), surroundings)
        with pytest.raises(SourceNotFound):
            repository.backup(scanner, BackupOptions(hostname="h", username="u"))
        assert set(bucket.objects) == before
        assert not repository.snapshots()

    def test_a_cancelled_backup_leaves_no_snapshot_and_no_lock(
        self,
        kind: ArchiverKind,
        keys: Keys,
        repository: Repository,
        tree: Path,
        bucket: MemoryBucket,
        tmp_path: Path,
    ) -> None:
        del repository
        cancel = CancelToken()
        around = make_surroundings(tmp_path / "cancelled", cancel=cancel)
        scanner = PlainScanner(os.fsencode(tree), around, between=lambda _: cancel.cancel())
        with kind.open(MemoryTransport(bucket), keys, around) as opened:
            with pytest.raises(RunCancelled):
                opened.backup(scanner, BackupOptions(hostname="h", username="u"))
            assert not opened.snapshots()
        assert not [name for name in bucket.objects if name.startswith("locks/")]

    def test_removal_is_refused_while_a_backup_runs(
        self,
        kind: ArchiverKind,
        keys: Keys,
        back_up: Callable[..., Snapshot],
        repository: Repository,
        surroundings: Surroundings,
        bucket: MemoryBucket,
        tree: Path,
    ) -> None:
        old = back_up()
        reached, go_on = threading.Event(), threading.Event()

        def pause(path: bytes) -> None:
            del path
            reached.set()
            assert go_on.wait(30)

        made: list[Snapshot] = []

        def work() -> None:
            with kind.open(MemoryTransport(bucket), keys, surroundings) as other:
                scanner = PlainScanner(os.fsencode(tree), surroundings, between=pause)
                made.append(
                    other.backup(scanner, BackupOptions(hostname="h2", username="u")).snapshot
                )

        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert reached.wait(30)
            with pytest.raises(RepositoryLocked):
                repository.remove(RemovalPlan(keep=(), remove=(old.id,)))
            with pytest.raises(RepositoryLocked):
                repository.clean_up(repository.plan_clean_up())
            beside = back_up()
        finally:
            go_on.set()
            thread.join()
        assert {each.id for each in repository.snapshots()} == {old.id, beside.id, made[0].id}
        assert repository.check(read_data=True).is_clean

    def test_no_altered_object_goes_unnoticed(
        self,
        kind: ArchiverKind,
        keys: Keys,
        repository: Repository,
        back_up: Callable[..., Snapshot],
        bucket: MemoryBucket,
        surroundings: Surroundings,
        tree: Path,
    ) -> None:
        back_up()
        (tree / "docs" / "letter.txt").write_bytes(b"changed")
        back_up()
        del repository
        for name, data in sorted(bucket.objects.items()):
            for damaged in (data[: len(data) // 2], b"", _flipped(data), data + b"\0", None):
                with altered(bucket, name, damaged):
                    assert _is_noticed(kind, keys, MemoryTransport(bucket), surroundings), name

    def test_parts_of_the_data_are_together_all_of_it(
        self, repository: Repository, back_up: Callable[..., Snapshot], bucket: MemoryBucket
    ) -> None:
        back_up()
        parts = [DataSubset(part=part, parts=3) for part in (1, 2, 3)]
        assert all(repository.check(read_data=part).is_clean for part in parts)
        name, data = max(bucket.objects.items(), key=lambda item: len(item[1]))
        with altered(bucket, name, _flipped(data)):
            assert not all(repository.check(read_data=part).is_clean for part in parts)

    @_LATER
    def test_an_unchanged_second_backup_moves_little(
        self,
        kind: ArchiverKind,
        keys: Keys,
        back_up: Callable[..., Snapshot],
        bucket: MemoryBucket,
        surroundings: Surroundings,
        tree: Path,
    ) -> None:
        first = back_up()
        transport = RecordingTransport(MemoryTransport(bucket))
        with kind.open(transport, keys, surroundings) as again:
            result = again.backup(
                PlainScanner(os.fsencode(tree), surroundings),
                BackupOptions(hostname="host", username="user"),
            )
        assert sum(size for _, size in result.objects) < first.counts.stored_bytes / 2
        assert all(
            name in bucket.objects and len(bucket.objects[name]) == size
            for name, size in result.objects
        )


def _is_noticed(
    kind: ArchiverKind, keys: Keys, transport: Transport, surroundings: Surroundings
) -> bool:
    try:
        if not kind.recognises(transport):
            return True
        with kind.open(transport, keys, surroundings) as repository:
            report = repository.check(read_data=True)
            # A lost snapshot is noticed by whoever remembers it, not by the repository.
            return not report.is_clean or len(repository.snapshots()) < 2
    except BackappError:
        return True


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
