"""An inode number names a file only for as long as nobody touches it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.clock import Clock
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.testing.plain_scanner import PlainScanner
from backapp_core.testing.trees import same_tree


class Place:
    """A source with two names of one file, ``a/1`` and ``z/1``, and a repository."""

    def __init__(self, bench) -> None:
        self._bench = bench
        self.repository: Repository = bench.repository
        self.tree: Path = bench.source
        for name in ("a", "between", "z"):
            (self.tree / name).mkdir(parents=True)
        (self.tree / "a" / "1").write_bytes(b"old content")
        (self.tree / "z" / "1").hardlink_to(self.tree / "a" / "1")

    def back_up(self, edit=lambda: None) -> Snapshot:
        """Back up; ``edit`` is called when ``a`` is stored and ``z`` is not yet listed."""
        middle = os.fsencode(self.tree / "between")
        scanner = PlainScanner(
            os.fsencode(self.tree),
            self._bench.surroundings,
            between=lambda path: edit() if path == middle else None,
        )
        return self.repository.backup(scanner, BackupOptions("h", "u")).snapshot

    def restored(self, snapshot: Snapshot) -> Path:
        top, outcome = self._bench.extract(snapshot)
        assert outcome.is_complete
        return top / self.tree.relative_to("/")


@pytest.fixture
def place(any_workbench: Callable[..., object], either_clock: Clock) -> Place:
    return Place(any_workbench(clock=either_clock))


def test_a_file_written_between_its_two_names_is_right_under_both(place):
    edited = place.back_up(lambda: (place.tree / "a" / "1").write_bytes(b"new content"))
    there = place.restored(edited)
    # An archiver that reads while the scan goes on may come to the first name only now.
    assert (there / "a" / "1").read_bytes() in {b"old content", b"new content"}
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
