"""What every archiver must do: inherit `ArchiverContract`, supply ``kind`` (and differences), run it with pytest.

The kit needs a POSIX file system. It scans with `PlainScanner`, restores with the engine's extractor and
compares trees with `same_tree`, so nothing of it is shared with the archiver under test.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import (
    BackappError,
    RepositoryExists,
    RepositoryLocked,
    RunCancelled,
    SourceNotFound,
)
from backapp_core.events import Progress, Recording, SnapshotSaved
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import RemovalPlan
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.surroundings import NO_KEYS, CancelToken, Keys, Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.faults import RecordingTransport
from backapp_core.testing.plain_scanner import PlainScanner
from backapp_core.testing.trees import Item, TreeSpec, directory, same_tree, symlink

_TREE = TreeSpec({
    b"docs/letter.txt": Item(b"dear reader\n" * 50),
    b"docs/empty": Item(b""),
    b"docs/again.txt": Item(link_of=b"docs/letter.txt"),
    b"docs-old/letter.txt": Item(b"sorts between docs and docs/ as bytes"),
    b"big": Item(bytes(range(256)) * 40_000),
    b"link": symlink(b"docs/letter.txt"),
    b"nowhere": symlink(b"../../does/not/exist"),
    b"holes": Item(size_bytes=3 << 20, pieces=((1 << 20, b"island"),)),
    b"name with\nnewline and \xff": Item(b"odd", mode=0o640),
    b"pipe": Item(kind=EntryKind.FIFO),
    b"hollow": directory(mode=0o750),
    b"before-1970": Item(b"old", mtime_ns=-86_400_000_000_001),
    b"\xc3\xa4\xe2\x82\xac": Item(b"unicode"),
})


class ArchiverContract:
    """Claims about every archiver."""

    @pytest.fixture
    def kind(self) -> ArchiverKind:
        """Return the kind under test."""
        raise NotImplementedError

    @pytest.fixture
    def settings(self, kind: ArchiverKind) -> object:
        """Return the settings that repositories are created with."""
        return kind.settings()

    @pytest.fixture
    def keys(self) -> Keys:
        """Return the keys that open and create the repository."""
        return NO_KEYS

    @pytest.fixture
    def bucket(self) -> MemoryBucket:
        """Return where all transports of a test lead."""
        return MemoryBucket()

    @pytest.fixture
    def transport(self, bucket: MemoryBucket) -> Transport:
        """Return a transport on which nothing stands yet."""
        return MemoryTransport(bucket)

    @pytest.fixture
    def recording(self) -> Recording:
        """Return the sink of a test's events."""
        return Recording()

    @pytest.fixture
    def surroundings(self, tmp_path: Path, recording: Recording) -> Surroundings:
        """Return surroundings on the real clock."""
        return Surroundings(
            cache_folder=tmp_path / "cache", state_folder=tmp_path / "state", events=recording
        )

    @pytest.fixture
    def repository(
        self,
        kind: ArchiverKind,
        settings: object,
        keys: Keys,
        transport: Transport,
        surroundings: Surroundings,
    ) -> Iterator[Repository]:
        """Return a new repository."""
        transport.prepare()
        with kind.create(transport, settings, keys, surroundings) as repository:
            yield repository

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """Return a folder with some of everything in it."""
        top = tmp_path / "source"
        _TREE.write(top)
        return top

    @pytest.fixture
    def back_up(
        self, repository: Repository, surroundings: Surroundings, tree: Path
    ) -> Callable[..., Snapshot]:
        """Return a function that backs the tree up; keyword arguments are those of `BackupOptions`."""

        def back_up(**options: object) -> Snapshot:
            chosen = evolve(BackupOptions(hostname="host", username="user"), **options)
            return repository.backup(PlainScanner(os.fsencode(tree), surroundings), chosen).snapshot

        return back_up

    @pytest.fixture
    def restored(
        self, repository: Repository, surroundings: Surroundings, tmp_path: Path, tree: Path
    ) -> Callable[[Snapshot], Path]:
        """Return a function that restores a snapshot into a new folder and returns where the tree lies there."""
        count = iter(range(1000))

        def restored(snapshot: Snapshot) -> Path:
            top = tmp_path / f"restored-{next(count)}"
            target = FolderTarget(os.fsencode(top), ExtractOptions(), surroundings)
            repository.restore(snapshot, target)
            assert not target.outcome.not_restored
            return top / tree.relative_to("/")

        return restored

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
        for number, change in enumerate(_CHANGES):
            change(tree)
            copy = tmp_path / f"copy-{number}"
            os.system(f"cp -a --sparse=always '{tree}' '{copy}'")  # noqa: S605  # paths of this test
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
            path: node for path, node in zip(paths, nodes, strict=True) if path.startswith(os.fsencode(tree))
        }
        facts = os.lstat(tree / "big")
        big = inside[os.fsencode(tree / "big")]
        assert (big.size_bytes, big.mtime_ns, big.uid) == (facts.st_size, facts.st_mtime_ns, facts.st_uid)
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
        repository.restore(snapshot, FolderTarget(os.fsencode(top), ExtractOptions(), surroundings), Only())
        files = [path for path in top.rglob("*") if not path.is_dir()]
        assert files == [top / os.fsdecode(wanted)[1:]]
        assert files[0].read_bytes() == (tree / "docs" / "letter.txt").read_bytes()

    def test_one_file_can_be_read(
        self, repository: Repository, back_up: Callable[..., Snapshot], tree: Path
    ) -> None:
        snapshot = back_up()
        for node in repository.nodes(snapshot):
            if node.kind is EntryKind.FILE:
                path = os.fsdecode(node.path)
                assert b"".join(repository.read(snapshot, node)) == Path(path).read_bytes()

    def test_an_unchanged_tree_is_not_read_again(self, back_up: Callable[..., Snapshot], tree: Path) -> None:
        _let_times_settle(tree)
        first = back_up()
        second = back_up()
        assert first.counts.files == second.counts.files == second.counts.files_unmodified
        assert second.counts.read_bytes == 0
        assert second.counts.stored_bytes < first.counts.stored_bytes
        assert second.parent_id == first.id

    def test_everything_is_read_again_on_request(self, back_up: Callable[..., Snapshot], tree: Path) -> None:
        _let_times_settle(tree)
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
        assert (last.files_done, last.bytes_done) == (snapshot.counts.files, snapshot.counts.processed_bytes)

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
        self, repository: Repository, surroundings: Surroundings, bucket: MemoryBucket, tmp_path: Path
    ) -> None:
        before = set(bucket.objects)
        scanner = PlainScanner(os.fsencode(tmp_path / "nowhere"), surroundings)
        with pytest.raises(SourceNotFound):
            repository.backup(scanner, BackupOptions(hostname="h", username="u"))
        assert set(bucket.objects) == before
        assert not repository.snapshots()

    def test_a_cancelled_backup_leaves_no_snapshot_and_no_lock(
        self, kind: ArchiverKind, keys: Keys, repository: Repository, tree: Path, bucket: MemoryBucket, tmp_path: Path
    ) -> None:
        del repository
        cancel = CancelToken()
        around = make_surroundings(tmp_path / "cancelled", cancel=cancel)
        scanner = PlainScanner(os.fsencode(tree), around, between=lambda path: cancel.cancel())
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
                made.append(other.backup(scanner, BackupOptions(hostname="h2", username="u")).snapshot)

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
                with _altered(bucket, name, damaged):
                    assert _is_noticed(kind, keys, MemoryTransport(bucket), surroundings), name

    def test_an_unchanged_second_backup_moves_little(
        self, kind: ArchiverKind, keys: Keys, back_up: Callable[..., Snapshot], bucket: MemoryBucket,
        surroundings: Surroundings, tree: Path,
    ) -> None:
        _let_times_settle(tree)
        first = back_up()
        transport = RecordingTransport(MemoryTransport(bucket))
        with kind.open(transport, keys, surroundings) as again:
            result = again.backup(
                PlainScanner(os.fsencode(tree), surroundings), BackupOptions(hostname="host", username="user")
            )
        assert sum(size for _, size in result.objects) < first.counts.stored_bytes / 2
        assert all(name in bucket.objects and len(bucket.objects[name]) == size for name, size in result.objects)


def _is_noticed(kind: ArchiverKind, keys: Keys, transport: Transport, surroundings: Surroundings) -> bool:
    try:
        if not kind.recognises(transport):
            return True
        with kind.open(transport, keys, surroundings) as repository:
            report = repository.check(read_data=True)
            # A lost snapshot is noticed by whoever remembers it, not by the repository.
            return not report.is_clean or len(repository.snapshots()) < 2  # noqa: PLR2004
    except BackappError:
        return True


class _altered:  # noqa: N801  # reads as a verb where it is used
    """Puts other bytes (None: nothing) in the place of an object, for a while."""

    def __init__(self, bucket: MemoryBucket, name: str, data: bytes | None) -> None:
        self._bucket = bucket
        self._name = name
        self._data = data
        self._kept = bucket.objects[name]

    def __enter__(self) -> None:
        if self._data is None:
            self._bucket.discard(self._name)
        else:
            self._bucket.store(self._name, self._data, replace=True)

    def __exit__(self, *error: object) -> None:
        self._bucket.store(self._name, self._kept, replace=True)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _let_times_settle(tree: Path) -> None:
    """Wait until no change time is so recent that a further change could hide behind it."""
    newest = max(os.lstat(path).st_ctime_ns for path in [tree, *tree.rglob("*")])
    event = threading.Event()
    import time  # noqa: PLC0415

    while time.time_ns() - newest < 2_100_000_000:
        event.wait(0.05)


def _change_nothing(tree: Path) -> None:
    del tree


def _create_and_edit(tree: Path) -> None:
    (tree / "docs" / "new.txt").write_bytes(b"new")
    (tree / "big").write_bytes(b"x" * 3_000_000)


def _rename_and_delete(tree: Path) -> None:
    (tree / "docs").rename(tree / "documents")
    (tree / "link").unlink()
    (tree / "before-1970").unlink()


def _change_types(tree: Path) -> None:
    (tree / "pipe").unlink()
    (tree / "pipe").write_bytes(b"a file now")
    (tree / "hollow").rmdir()
    (tree / "hollow").symlink_to("documents")
    (tree / "nowhere").unlink()
    (tree / "nowhere").mkdir()
    (tree / "nowhere" / "inside").write_bytes(b"deeper")


def _change_metadata(tree: Path) -> None:
    (tree / "big").chmod(0o600)
    os.utime(tree / "documents" / "letter.txt", ns=(1, 1))
    (tree / "documents" / "third.txt").hardlink_to(tree / "documents" / "letter.txt")


_CHANGES = (_change_nothing, _create_and_edit, _rename_and_delete, _change_types, _change_metadata, _change_nothing)
