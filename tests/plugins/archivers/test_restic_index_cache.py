"""What is kept of an index saves reading, and never changes an answer."""

import errno
import os
import threading
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pytest

from backapp_core.errors import DamagedRepository, ObjectMissing, TransportUnavailable
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.cache import IndexVanished, load_index
from backapp_plugins.archivers.restic.index.cache_file import CacheFile
from backapp_plugins.archivers.restic.index.files import MarkedPack, encode_index
from backapp_plugins.archivers.restic.index.index import Index, Location


class _Store:
    """Index files in memory, and which of them were read."""

    def __init__(self) -> None:
        self.files: dict[bytes, bytes] = {}
        self.been_read: list[bytes] = []

    def add(self, *blobs: int, marked: Iterable[int] = ()) -> bytes:
        """Add a file of packs that hold one blob each."""
        packs = [(_pack(blob), [_entry(blob)]) for blob in blobs]
        gone = [MarkedPack(_pack(blob), [_entry(blob)], None) for blob in marked]
        return self.put(encode_index(packs, gone))

    def put(self, document: bytes) -> bytes:
        file_id = sha256(document).digest()
        self.files[file_id] = document
        return file_id

    def read(self, file_id: bytes) -> bytes:
        self.been_read.append(file_id)
        try:
            return self.files[file_id]
        except KeyError:
            raise ObjectMissing(f"no index/{file_id.hex()}") from None

    def listed(self) -> list[tuple[bytes, int]]:
        return [(file_id, len(document)) for file_id, document in self.files.items()]

    def load(self, folder: Path, **options) -> Index:
        self.been_read.clear()
        return load_index(self.listed(), self.read, folder, **options)


def _pack(blob: int) -> bytes:
    return sha256(b"pack %d" % blob).digest()


def _entry(blob: int) -> PackEntry:
    return PackEntry(BlobKind(blob % 2), sha256(b"blob %d" % blob).digest(), blob, 100 + blob, blob)


def _known(index: Index, blobs: Iterable[int] = range(200)) -> list[int]:
    """Return which blobs an index has, after comparing what it says of each."""
    known: list[int] = []
    for blob in blobs:
        kind, blob_id, *place = _entry(blob)
        if index.has(kind, blob_id):
            known.append(blob)
            assert index.locations(kind, blob_id) == [Location(_pack(blob), *place)]
        assert not index.has(BlobKind(1 - kind), blob_id)
    return known


@pytest.fixture
def store() -> _Store:
    return _Store()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "restic" / "id"


def test_what_is_kept_is_not_read_again(store, folder):
    store.add(1, 2, 3)
    store.add(4, 5, 6)
    assert _known(store.load(folder)) == [1, 2, 3, 4, 5, 6]
    assert len(store.been_read) == 2
    index = store.load(folder)
    assert store.been_read == []
    assert _known(index) == [1, 2, 3, 4, 5, 6]
    assert index.files == store.files.keys()


def test_new_files_are_read_beside_what_is_kept(store, folder):
    for first in range(0, 100, 5):
        store.add(*range(first, first + 5))
    store.load(folder)
    kept = (folder / "index").read_bytes()
    new = store.add(100)
    for _ in range(2):  # so little does not make it worth to keep all anew
        index = store.load(folder)
        assert store.been_read == [new]
        assert _known(index) == [*range(101)]
        assert index.files == store.files.keys()
        assert (folder / "index").read_bytes() == kept


@pytest.mark.parametrize("new_files", [[range(100, 120)], [[100], [101], [102]]])
def test_what_is_kept_is_renewed_once_a_tenth_is_new(store, folder, new_files):
    for first in range(0, 100, 5):
        store.add(*range(first, first + 5))
    store.load(folder)
    for blobs in new_files:
        store.add(*blobs)
    expected = _known(store.load(folder))
    assert len(store.been_read) == len(new_files)
    assert _known(store.load(folder)) == expected
    assert store.been_read == []


def test_everything_is_read_after_a_prune(store, folder):
    old = store.add(1, 2)
    store.add(3, 4)
    store.load(folder)
    del store.files[old]
    store.add(2)
    assert _known(store.load(folder)) == [2, 3, 4]
    assert len(store.been_read) == 2
    assert _known(store.load(folder)) == [2, 3, 4]
    assert store.been_read == []


def test_a_pack_that_a_new_file_marks_does_not_count_any_more(store, folder):
    for first in range(0, 100, 2):
        store.add(first, first + 1)
    store.load(folder)
    store.add(marked=[7])
    expected = [blob for blob in range(100) if blob != 7]
    for _ in range(2):
        index = store.load(folder)
        assert _known(index) == expected
        assert len(index.locations(*_entry(7)[:2])) == 1


def test_an_empty_repository_has_an_empty_index(store, folder):
    index = store.load(folder)
    assert _known(index) == []
    assert index.files == frozenset()
    assert not folder.exists()


def test_a_kept_index_without_blobs_is_read_back(store, folder):
    file_id = store.put(b'{"packs":[]}')
    store.load(folder)
    index = store.load(folder)
    assert store.been_read == []
    assert index.files == {file_id}
    assert len(index.table()) == 0


def test_a_file_that_is_gone_asks_for_another_listing(store, folder):
    gone = store.add(1)
    store.add(2)
    listed = store.listed()
    del store.files[gone]
    with pytest.raises(IndexVanished, match=gone.hex()):
        load_index(listed, store.read, folder, lambda *_: None)
    assert not folder.exists()


def test_a_damaged_file_ends_the_loading_unless_somebody_listens(store, folder):
    damaged = store.put(b'{"packs":[{"id":"00","blobs":[]}]}')
    store.add(1)
    with pytest.raises(DamagedRepository, match=f"index/{damaged.hex()} is damaged: .*id"):
        store.load(folder)
    told: list[tuple[bytes, Exception]] = []
    index = store.load(folder, on_damage=lambda *what: told.append(what))
    assert _known(index) == [1]
    assert damaged not in index.files
    assert [file_id for file_id, _ in told] == [damaged]


def test_a_damaged_file_is_told_of_each_time_and_read_once_it_is_whole(store, folder):
    damaged = store.add(1)
    document = store.files[damaged]
    store.add(2)
    store.files[damaged] = b"{}"
    told: list[bytes] = []
    for _ in range(2):
        index = store.load(folder, on_damage=lambda file_id, _: told.append(file_id))
        assert _known(index) == [2]
    assert told == [damaged, damaged]
    store.files[damaged] = document
    assert _known(store.load(folder)) == [1, 2]


def test_what_the_reader_raises_otherwise_is_passed_on(store, folder):
    store.add(1)

    def fail(file_id: bytes) -> bytes:
        raise TransportUnavailable("the cable is out")

    with pytest.raises(TransportUnavailable):
        load_index(store.listed(), fail, folder, lambda *_: None)


def test_files_are_read_several_at_a_time(store, folder):
    for blob in range(4):
        store.add(blob)
    together = threading.Barrier(4)

    def read(file_id: bytes) -> bytes:
        together.wait(timeout=30)
        return store.read(file_id)

    assert _known(load_index(store.listed(), read, folder)) == [0, 1, 2, 3]


def _damaged(whole: bytes) -> Iterable[bytes]:
    for at in range(len(whole)):
        yield whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        yield whole[:at]
    yield whole + b"\0"
    yield sha256().digest()


def test_what_is_damaged_anywhere_is_not_used(store, folder):
    store.add(1, 2)
    store.load(folder)
    path = folder / "index"
    whole = path.read_bytes()
    for damaged in _damaged(whole):
        path.unlink()  # some file systems wait for the disk when a file is cut and written anew
        path.write_bytes(damaged)
        assert CacheFile(folder).read() is None
    store.load(folder)
    assert len(store.been_read) == 1
    assert path.read_bytes() == whole


def test_what_another_version_kept_is_not_used(store, folder):
    store.add(1, 2)
    store.load(folder)
    path = folder / "index"
    other = path.read_bytes()[:-32].replace(b"BackApp index 2", b"BackApp index 1")
    path.write_bytes(other + sha256(other).digest())
    assert CacheFile(folder).read() is None


@pytest.mark.parametrize("obstacle", ["file", "folder"])
def test_a_place_that_cannot_be_written_costs_only_time(store, folder, obstacle):
    if obstacle == "file":
        folder.parent.mkdir(parents=True)
        folder.write_bytes(b"")
    else:
        (folder / "index" / "full").mkdir(parents=True)
    store.add(1)
    failures: list[OSError] = []
    for _ in range(2):
        assert _known(store.load(folder, on_cache_failure=failures.append)) == [1]
        assert len(store.been_read) == 1
    assert len(failures) == 2
    assert _known(store.load(folder)) == [1]
    assert [path.name for path in folder.parent.rglob(".new-*")] == []


def test_a_full_disk_leaves_what_was_kept(store, folder, monkeypatch):
    store.add(1)
    store.load(folder)
    kept = (folder / "index").read_bytes()
    store.add(2)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        assert _known(store.load(folder)) == [1, 2]
    assert os.listdir(folder) == ["index"]
    assert (folder / "index").read_bytes() == kept


def test_what_is_in_use_stays_though_it_is_replaced_or_deleted(store, folder):
    store.add(*range(50))
    store.load(folder)
    index = store.load(folder)
    store.add(*range(50, 100))
    store.load(folder)
    (folder / "index").unlink()
    assert _known(index) == [*range(50)]


def test_drafts_of_processes_that_were_killed_are_removed_after_a_day(store, folder):
    folder.mkdir(parents=True)
    stale, young = folder / ".new-stale", folder / ".new-young"
    for draft in (stale, young):
        draft.write_bytes(b"draft")
    os.utime(stale, (1, 1))
    store.add(1)
    store.load(folder)
    assert sorted(os.listdir(folder)) == [".new-young", "index"]


def test_nobody_else_may_read_what_is_kept(store, folder):
    store.add(1)
    store.load(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "index").stat().st_mode & 0o077 == 0
