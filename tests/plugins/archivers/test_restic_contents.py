"""The chunks of one long file are saved side by side, few at a time, and stay in order."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from types import SimpleNamespace

import pytest

from backapp_core.ports.surroundings import CancelToken
from backapp_plugins.archivers.restic.backup.contents import ContentSaver
from backapp_plugins.archivers.restic.chunking.chunker import open_chunker

POLYNOMIAL = 0x3DA3358B4DC173
MIB = 1 << 20
DATA = random.Random(1).randbytes(48 * MIB)
PATIENCE_SECONDS = 60


class File:
    """A file in memory that tells how far it was read."""

    is_stream = False
    entry = SimpleNamespace(size_bytes=len(DATA))

    def __init__(self, on_read=lambda end: None):
        self._on_read = on_read

    def read_at(self, offset, length):
        self._on_read(offset + length)
        return DATA[offset : offset + length]

    def extents(self):
        return None


class Saver:
    """Saves nothing, and asks what to do with each chunk by its number."""

    def __init__(self, act):
        self._act = act
        self._lock = threading.Lock()
        self._count = 0

    def save(self, _kind, chunk):
        with self._lock:
            number, self._count = self._count, self._count + 1
        self._act(number)
        return sha256(chunk).digest()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def content_saver(act, pool):
    return ContentSaver(
        Saver(act),
        SimpleNamespace(save=None),
        pool,
        CancelToken(),
        cutting="fastcdc",
        polynomial=POLYNOMIAL,
    )


def test_a_chunk_that_takes_long_holds_up_no_other_and_keeps_its_place(pool):
    chunks = [
        sha256(one).digest()
        for one in open_chunker("fastcdc", POLYNOMIAL).chunks(File().read_at, len(DATA))
    ]
    may_end = threading.Event()

    def act(number):
        if number == 0:
            assert may_end.wait(PATIENCE_SECONDS)
        elif number == len(chunks) - 1:
            may_end.set()

    content = content_saver(act, pool).save(File(), lambda _: None)
    assert content.ids == chunks
    assert (content.size_bytes, content.read_bytes) == (len(DATA), len(DATA))


def test_a_chunk_that_fails_ends_it_although_one_before_takes_long(pool):
    may_end, has_failed = threading.Event(), threading.Event()
    read_on = []

    def act(number):
        if number == 0:
            assert may_end.wait(PATIENCE_SECONDS)
        elif number == 1:
            has_failed.set()
            raise ValueError("a broken chunk")
        else:
            assert has_failed.wait(PATIENCE_SECONDS)

    def on_read(end):
        if end > 40 * MIB:
            read_on.append(end)
            may_end.set()

    try:
        with pytest.raises(ValueError, match="a broken chunk"):
            content_saver(act, pool).save(File(on_read), lambda _: None)
    finally:
        may_end.set()
    assert not read_on
