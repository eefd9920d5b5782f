"""What the kit of archivers works on: a tree, changes to it, and ways to back up and restore."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from backapp_core.clock import Clock, SystemClock
from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.events import Recording
from backapp_core.model.entries import EntryKind
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.surroundings import NO_KEYS, Keys, Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport
from backapp_core.testing.plain_scanner import PlainScanner
from backapp_core.testing.trees import Item, TreeSpec, directory, symlink

_TREE = TreeSpec(
    {
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
    }
)


class ArchiverFixtures:
    """Fixtures that an archiver's tests may override."""

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
    def clock(self) -> Clock:
        """Return the real clock."""
        return SystemClock()

    @pytest.fixture
    def surroundings(self, tmp_path: Path, recording: Recording, clock: Clock) -> Surroundings:
        """Return surroundings of a test's own folders."""
        return Surroundings(
            cache_folder=tmp_path / "cache",
            state_folder=tmp_path / "state",
            events=recording,
            clock=clock,
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
        """Return a function that backs the tree up.

        Keyword arguments are those of `BackupOptions`.
        """

        def back_up(**options: Any) -> Snapshot:
            chosen = evolve(BackupOptions(hostname="host", username="user"), **options)
            return repository.backup(PlainScanner(os.fsencode(tree), surroundings), chosen).snapshot

        return back_up

    @pytest.fixture
    def restored(
        self, repository: Repository, surroundings: Surroundings, tmp_path: Path, tree: Path
    ) -> Callable[[Snapshot], Path]:
        """Return a function that restores a snapshot and says where the tree lies then."""
        count = iter(range(1000))

        def restored(snapshot: Snapshot) -> Path:
            top = tmp_path / f"restored-{next(count)}"
            target = FolderTarget(os.fsencode(top), ExtractOptions(), surroundings)
            repository.restore(snapshot, target)
            assert not target.outcome.not_restored
            return top / tree.relative_to("/")

        return restored


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


CHANGES = (
    _change_nothing,
    _create_and_edit,
    _rename_and_delete,
    _change_types,
    _change_metadata,
    _change_nothing,
)

"""Changes to make one after another, each a state to come back to."""


def copy_tree(tree: Path, copy: Path) -> None:
    """Copy a tree with everything in it by a program that is not ours."""
    subprocess.run(["cp", "-a", "--sparse=always", tree, copy], check=True)  # noqa: S603, S607  # a test's own paths


class altered:  # noqa: N801  # reads as a verb where it is used
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
