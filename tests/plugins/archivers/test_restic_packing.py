"""Packs take what they are given, whatever its size, and no memory before that."""

import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from attrs import field, frozen
from typing_extensions import override

from backapp_core.errors import TransportError
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase
from backapp_plugins.archivers.restic.format.layout import PACK_BYTES, BlobKind
from backapp_plugins.archivers.restic.writing.packing import PackWriter
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

MIB = 1 << 20


@pytest.fixture
def place(restic_bench):
    return restic_bench.repository._place


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


@pytest.mark.parametrize(
    "sizes", [[PACK_BYTES + 3 * MIB], [5, PACK_BYTES + 3 * MIB, 6], [PACK_BYTES - 9, 2 * MIB, 7]]
)
def test_blobs_larger_than_there_is_room_for_are_stored_whole(place, sizes):
    chance = random.Random(7)
    contents = [chance.randbytes(size) for size in sizes]
    with BlobSaver(place, place.load_index()) as saver:
        ids = [saver.save(BlobKind.DATA, content) for content in contents]
        saver.finish()
    index = place.load_index(uses_cache=False)
    for blob_id, content in zip(ids, contents, strict=True):
        assert place.read_blob(index, BlobKind.DATA, blob_id) == content


def test_packs_that_follow_a_full_one_hold_nothing_of_it(place):
    chance = random.Random(8)
    contents = [chance.randbytes(MIB) for _ in range(2 * PACK_BYTES // MIB + 3)]
    with BlobSaver(place, place.load_index()) as saver:
        saver.save_all(contents)
        saver.finish()
        sizes = [size for name, size in saver.objects if name.startswith("data/")]
    assert len(sizes) == 3
    assert sum(sizes) < sum(map(len, contents)) + MIB


def test_of_all_that_wait_for_an_upload_one_has_a_full_pack(restic_bench):
    uploads, per_pack = 5, PACK_BYTES // MIB
    at_work, is_free = threading.Event(), threading.Event()
    accepted: list[int] = []

    def hold(operation, phase) -> None:
        if operation.name.startswith("data/") and phase is Phase.BEFORE:
            is_free.wait()

    repository = restic_bench.open(FaultyTransport(MemoryTransport(restic_bench.bucket), hold))
    blob = bytes(MIB)

    def add(first: int) -> None:
        for number in range(first, first + 24):
            writer.add(BlobKind.DATA, b"%032d" % number, blob, MIB)
            accepted.append(number)
            if len(accepted) > uploads * per_pack:
                at_work.set()

    with PackWriter(repository._place) as writer, ThreadPoolExecutor(8) as pool:
        adding = [pool.submit(add, 100 * thread) for thread in range(8)]
        at_work.wait()
        wait(adding, timeout=0.3)  # in which more would be taken
        taken = len(accepted)
        is_free.set()
        for each in adding:
            each.result()
        writer.finish()
    assert taken <= (uploads + 1) * per_pack + len(adding)
    assert len(accepted) == 8 * 24


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is resident")
def test_packs_that_are_not_filled_take_no_memory(place):
    before = _resident_bytes()
    writers = [PackWriter(place) for _ in range(8)]
    for writer in writers:
        writer.add(BlobKind.TREE, bytes(32), b"sealed", 3)
    assert _resident_bytes() - before < 8 * MIB
    for writer in writers:
        writer.__exit__(None)


@frozen
class Disk(MemoryTransport):
    """Takes what is written at once, and makes sure of packs when it is told to."""

    folder: Path = field(kw_only=True)
    make_sure: Callable[[], object] = field(kw_only=True)

    @override
    def put(self, name, body, **how):
        content = b"".join(map(bytes, body))
        if name.startswith("data/"):
            self.make_sure()
        return super().put(name, [content], **how)


def on_disk(restic_bench, tmp_path, make_sure):
    """Return the repository as `Disk` holds it."""
    disk = Disk(restic_bench.bucket, folder=tmp_path, make_sure=make_sure)
    return restic_bench.open(disk)._place


def test_packs_follow_while_a_disk_makes_sure_of_those_before(restic_bench, tmp_path):
    all_three = threading.Barrier(3)
    place = on_disk(restic_bench, tmp_path, lambda: all_three.wait(60))
    chance = random.Random(9)
    contents = [chance.randbytes(MIB) for _ in range(3 * PACK_BYTES // MIB)]
    with BlobSaver(place, place.load_index()) as saver:
        ids = saver.save_all(contents)
        saver.finish()
    index = place.load_index(uses_cache=False)
    assert [place.read_blob(index, BlobKind.DATA, one) for one in ids] == contents


def test_nothing_is_listed_that_a_disk_took_and_could_not_make_sure_of(restic_bench, tmp_path):
    def fail() -> None:
        raise TransportError("the disk could not make sure of it")

    place = on_disk(restic_bench, tmp_path, fail)
    with BlobSaver(place, place.load_index()) as saver:
        blob_id = saver.save(BlobKind.DATA, b"content")
        with pytest.raises(TransportError, match="could not make sure"):
            saver.finish()
    assert not place.load_index(uses_cache=False).has(BlobKind.DATA, blob_id)


@pytest.mark.parametrize("length", [1, 1000, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
def test_blobs_that_begin_and_end_anywhere_are_stored_whole(place, length):
    chance = random.Random(length)
    sizes = [chance.randrange(1, length + 1) for _ in range(8)]
    contents = [chance.randbytes(size) for size in [length, *sizes, length]]
    with BlobSaver(place, place.load_index()) as saver:
        ids = [saver.save(BlobKind.DATA, content) for content in contents]
        saver.finish()
    index = place.load_index(uses_cache=False)
    assert [place.read_blob(index, BlobKind.DATA, one) for one in ids] == contents


@frozen
class Breaking(MemoryTransport):
    """Takes the first bytes of packs and no more, for a while."""

    folder: Path = field(kw_only=True)
    left: list[int] = field(kw_only=True)

    @override
    def put(self, name, body, **how):
        if name.startswith("data/") and self.left:
            self.left.pop()
            next(iter(body))
            raise TransportError("the disk is gone")
        return super().put(name, body, **how)


def test_a_pack_that_a_disk_took_in_part_spoils_none_that_follow(restic_bench, tmp_path):
    chance = random.Random(10)
    contents = [chance.randbytes(MIB) for _ in range(PACK_BYTES // MIB)]
    disk = Breaking(restic_bench.bucket, folder=tmp_path, left=[1])
    place = restic_bench.open(disk)._place
    writer = PackWriter(place)
    for number, content in enumerate(contents):
        writer.add(BlobKind.DATA, b"%032d" % number, content, MIB)
    with pytest.raises(TransportError, match="gone"):
        writer.finish()
    pieces = [id(piece) for piece in writer._spare]
    assert len(pieces) == len(set(pieces))
    writer.__exit__(TransportError)
