"""Packs take what they are given, whatever its size, and no memory before that."""

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

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
