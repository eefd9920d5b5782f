"""The contract of backups that make no snapshot where nothing changed.

::

    class TestMine(ArchiverContract, UnchangedContract): ...
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from backapp_core.errors import EntryUnreadable
from backapp_core.events import Problem, Recording, SnapshotSaved
from backapp_core.model.jobs import BackupOptions
from backapp_core.ports.archivers import BackupResult, Repository
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.archiver_fixtures import ArchiverFixtures
from backapp_core.testing.fakes import MemoryBucket
from backapp_core.testing.hooked_scanner import HookedScanner
from backapp_core.testing.plain_scanner import PlainScanner

_SKIP = BackupOptions(hostname="host", username="user", skips_unchanged=True)
_Skip = Callable[..., BackupResult]


def _append(tree: Path) -> None:
    with (tree / "docs" / "letter.txt").open("ab") as file:
        file.write(b"more")


def _change_only_the_times(tree: Path) -> None:
    os.utime(tree / "docs" / "letter.txt", ns=(0, 1_000_000_000))


def _make(tree: Path) -> None:
    (tree / "docs" / "another").write_bytes(b"")


def _make_a_folder(tree: Path) -> None:
    (tree / "docs" / "zz").mkdir()


def _remove(tree: Path) -> None:
    (tree / "docs" / "letter.txt").unlink()


def _remove_a_folder(tree: Path) -> None:
    (tree / "last" / "of all").unlink()
    (tree / "last").rmdir()


def _link_elsewhere(tree: Path) -> None:
    (tree / "to nowhere").unlink()
    (tree / "to nowhere").symlink_to("elsewhere")


def _close_the_root(tree: Path) -> None:
    tree.chmod(0o700)


_EDITS = [
    _append,
    _change_only_the_times,
    _make,
    _make_a_folder,
    _remove,
    _remove_a_folder,
    _link_elsewhere,
    _close_the_root,
]


class UnchangedContract(ArchiverFixtures):
    """Claims about backups that skip what is unchanged."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        """Return a folder in another, with what is looked at again soon after it was made."""
        top = tmp_path / "home" / "source"
        for folder in ("docs", "empty", "last"):
            (top / folder).mkdir(parents=True)
        (top / "docs" / "letter.txt").write_bytes(b"Dear Sirs")
        (top / "docs" / "nothing").write_bytes(b"")
        (top / "docs" / "twice").hardlink_to(top / "docs" / "nothing")
        (top / "large").write_bytes(os.urandom(1_500_000))
        (top / "large").with_name("again").hardlink_to(top / "large")
        (top / "to nowhere").symlink_to("nowhere")
        (top / "last" / "of all").write_bytes(b"z")
        return top

    @pytest.fixture
    def skip(self, repository: Repository, surroundings: Surroundings, source: Path) -> _Skip:
        """Return a function that backs up what changed; arguments are those of the options."""

        def skip(**options: Any) -> BackupResult:
            scanner = PlainScanner(os.fsencode(source), surroundings)
            return repository.backup(scanner, evolve(_SKIP, **options))

        return skip

    def test_the_first_backup_makes_a_snapshot(self, skip: _Skip, repository: Repository) -> None:
        result = skip()
        assert (result.is_skipped, result.counts) == (False, result.snapshot.counts)
        assert list(repository.snapshots()) == [result.snapshot]

    def test_what_is_unchanged_is_not_saved_again_and_nothing_is_written(
        self,
        skip: _Skip,
        repository: Repository,
        bucket: MemoryBucket,
        recording: Recording,
    ) -> None:
        first = skip().snapshot
        before, saved = _kept(bucket), len(recording.of(SnapshotSaved))
        for options in ({}, {"tags": ("other",)}, {"rereads_all": True}):
            result = skip(**options)
            assert (result.is_skipped, result.snapshot, result.objects) == (True, first, ())
            counts = result.counts
            assert (counts.files_new, counts.files_changed, counts.stored_bytes) == (0, 0, 0)
            assert counts.files_unmodified == first.counts.files
            assert counts.processed_bytes == first.counts.processed_bytes
        assert _kept(bucket) == before
        assert list(repository.snapshots()) == [first]
        assert len(recording.of(SnapshotSaved)) == saved

    @pytest.mark.parametrize("edit", _EDITS, ids=lambda edit: edit.__name__[1:])
    def test_whatever_changes_makes_a_snapshot_and_then_no_other(
        self,
        skip: _Skip,
        repository: Repository,
        source: Path,
        edit: Callable[[Path], None],
    ) -> None:
        first = skip().snapshot
        assert skip().is_skipped
        edit(source)
        result = skip()
        assert not result.is_skipped
        assert result.snapshot.parent_id == first.id
        assert skip().snapshot == result.snapshot
        assert list(repository.snapshots()) == [first, result.snapshot]
        assert repository.check(read_data=True).is_clean
        stored = {node.path for node in repository.nodes(result.snapshot)}
        assert {os.fsencode(path) for path in source.rglob("*")} | {os.fsencode(source)} <= stored

    def test_what_happens_above_the_roots_does_not_count(
        self,
        skip: _Skip,
        repository: Repository,
        bucket: MemoryBucket,
        source: Path,
    ) -> None:
        first = skip().snapshot
        before = _kept(bucket)
        for number in range(2):
            (source.parent / f"beside-{number}").write_bytes(b"of no interest")
            source.parent.chmod(0o750 + number)
            result = skip()
            assert (result.is_skipped, result.snapshot) == (True, first)
        assert _kept(bucket) == before
        (source / "new").write_bytes(b"new")
        after = skip()
        assert not after.is_skipped
        assert repository.check(read_data=True).is_clean
        nodes = {node.path: node for node in repository.nodes(after.snapshot)}
        assert nodes[os.fsencode(source.parent)].mode == 0o751
        new = nodes[os.fsencode(source / "new")]
        assert b"".join(repository.read(after.snapshot, new)) == b"new"

    def test_hosts_are_compared_with_themselves(self, skip: _Skip) -> None:
        mine, theirs = skip().snapshot, skip(hostname="other").snapshot
        assert mine != theirs
        assert skip().snapshot == mine
        assert skip(hostname="other").snapshot == theirs
        assert not skip(hostname="third").is_skipped

    def test_a_parent_that_is_named_is_what_is_compared_with(
        self, skip: _Skip, source: Path
    ) -> None:
        first = skip().snapshot
        _append(source)
        second = skip().snapshot
        assert skip(parent_id=second.id).snapshot == second
        assert not skip(parent_id=first.id).is_skipped

    def test_a_full_backup_is_compared_with_nothing(self, skip: _Skip) -> None:
        first = skip().snapshot
        result = skip(is_full=True)
        assert not result.is_skipped
        assert result.snapshot.id != first.id

    def test_what_cannot_be_read_is_told_and_makes_no_difference_twice(
        self,
        repository: Repository,
        surroundings: Surroundings,
        bucket: MemoryBucket,
        recording: Recording,
        source: Path,
    ) -> None:
        (source / "again").unlink()
        bad = os.fsencode(source / "large")

        def refuse(step: str, path: bytes, at: int) -> None:
            del at
            if (step, path) == ("read", bad):
                raise EntryUnreadable("the disk is broken")

        def back_up() -> BackupResult:
            scanner = HookedScanner(PlainScanner(os.fsencode(source), surroundings), refuse)
            return repository.backup(scanner, _SKIP)

        first = back_up()
        assert (first.is_skipped, first.counts.problems) == (False, 1)
        before, told = _kept(bucket), len(recording.of(Problem))
        again = back_up()
        assert (again.is_skipped, again.snapshot) == (True, first.snapshot)
        assert again.counts.problems == len(recording.of(Problem)) - told == 1
        assert _kept(bucket) == before
        assert list(repository.snapshots()) == [first.snapshot]


def _kept(bucket: MemoryBucket) -> Mapping[str, bytes]:
    return {name: data for name, data in bucket.objects.items() if not name.startswith("locks/")}
