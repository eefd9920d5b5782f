"""An inode number names a file only for as long as nobody touches it."""

import os
from pathlib import Path

import pytest

from backapp_core.clock import Clock
from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import NO_KEYS, Surroundings
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport
from backapp_core.testing.plain_scanner import PlainScanner
from backapp_core.testing.trees import same_tree
from backapp_plugins.archivers.targz import backapp_archivers
from backapp_plugins.archivers.targz.settings import TargzSettings


class Place:
    """A source with two names of one file, ``a/1`` and ``z/1``, and a repository."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._around = Surroundings(
            cache_folder=folder / "cache", state_folder=folder / "state", clock=clock
        )
        kind = backapp_archivers()[0]
        transport = MemoryTransport(MemoryBucket())
        self.repository: Repository = kind.create(transport, TargzSettings(), NO_KEYS, self._around)
        self.tree = folder / "source"
        for name in ("a", "between", "z"):
            (self.tree / name).mkdir(parents=True)
        (self.tree / "a" / "1").write_bytes(b"old content")
        (self.tree / "z" / "1").hardlink_to(self.tree / "a" / "1")

    def back_up(self, edit=lambda: None) -> Snapshot:
        """Back up; ``edit`` is called when ``a`` is stored and ``z`` is not yet listed."""
        middle = os.fsencode(self.tree / "between")
        scanner = PlainScanner(
            os.fsencode(self.tree),
            self._around,
            between=lambda path: edit() if path == middle else None,
        )
        return self.repository.backup(scanner, BackupOptions("h", "u")).snapshot

    def restored(self, snapshot: Snapshot) -> Path:
        top = self._folder / snapshot.id
        target = FolderTarget(os.fsencode(top), ExtractOptions(), self._around)
        self.repository.restore(snapshot, target)
        assert target.outcome.is_complete
        return top / self.tree.relative_to("/")


@pytest.fixture
def place(tmp_path: Path, either_clock: Clock) -> Place:
    return Place(tmp_path, either_clock)


def test_a_file_written_between_its_two_names_is_right_under_both(place):
    edited = place.back_up(lambda: (place.tree / "a" / "1").write_bytes(b"new content"))
    there = place.restored(edited)
    assert (there / "a" / "1").read_bytes() == b"old content"
    assert (there / "z" / "1").read_bytes() == b"new content"
    for quiet in (place.back_up(), place.back_up()):
        same_tree(place.tree, place.restored(quiet))


def test_an_unrelated_file_with_a_number_given_anew_keeps_its_own_content(place):
    def replace() -> None:
        for name in ("a", "z"):
            (place.tree / name / "1").unlink()
        (place.tree / "z" / "other").write_bytes(b"another file")
        (place.tree / "z" / "other-too").hardlink_to(place.tree / "z" / "other")

    edited = place.back_up(replace)
    there = place.restored(edited)
    assert (there / "z" / "other").read_bytes() == b"another file"
    assert (there / "z" / "other").samefile(there / "z" / "other-too")
    for quiet in (place.back_up(), place.back_up()):
        same_tree(place.tree, place.restored(quiet))


def test_a_file_that_only_got_a_name_meanwhile_comes_back_with_its_content(place):
    def link() -> None:
        (place.tree / "z" / "2").hardlink_to(place.tree / "a" / "1")

    place.back_up(link)
    same_tree(place.tree, place.restored(place.back_up()))
