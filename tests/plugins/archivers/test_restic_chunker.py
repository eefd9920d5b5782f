"""Where files are cut depends on their content alone, and every byte comes back."""

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backapp_core.model.entries import Extent
from backapp_plugins.archivers.restic.chunking import rabin
from backapp_plugins.archivers.restic.chunking.chunker import (
    FASTCDC,
    RABIN,
    Chunk,
    Chunker,
    open_chunker,
)
from backapp_plugins.archivers.restic.chunking.cutter import ZeroRun
from backapp_plugins.archivers.restic.format.layout import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES

POLYNOMIAL = 0x3DA3358B4DC173
KINDS = pytest.mark.parametrize("kind", [FASTCDC, RABIN])
SOURCE = random.Random(5).randbytes(24 << 20)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Cut with compiled code from the first byte on; elsewhere numpy is shown to find the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rabin, "_WORTH_COMPILING_BYTES", 0)
        yield


class File:
    """Content to read, and what was read of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.reads: list[tuple[int, int]] = []

    def read_at(self, offset: int, length_bytes: int) -> bytes:
        self.reads.append((offset, length_bytes))
        return self.content[offset : offset + length_bytes]


def expanded(chunks: Iterator[Chunk]) -> list[bytes | memoryview]:
    """Return chunks with zeros for the runs of them."""
    found: list[bytes | memoryview] = []
    for chunk in chunks:
        if isinstance(chunk, ZeroRun):
            found += [bytes(chunk.chunk_bytes)] * chunk.chunk_count
        else:
            found.append(chunk)
    return found


def cut(chunker: Chunker, content: bytes, extents: list[Extent] | None = None) -> list[int]:
    """Return the lengths of the chunks of ``content``, which must come back from them."""
    chunks = expanded(chunker.chunks(File(content).read_at, len(content), extents))
    assert b"".join(chunks) == content
    return [len(chunk) for chunk in chunks]


def cut_stream(chunker: Chunker, content: bytes) -> list[int]:
    chunks = list(chunker.stream_chunks(File(content).read_at))
    assert b"".join(chunks) == content
    return [len(chunk) for chunk in chunks]


def from_pieces(pieces: list[tuple[bool, int]]) -> bytes:
    """Return content in which zeros (True) and noise (False) take turns."""
    content = bytearray()
    for is_zero, length in pieces:
        content += bytes(length) if is_zero else SOURCE[len(content) :][:length]
    return bytes(content)


PIECES = st.lists(
    st.tuples(
        st.booleans(),
        st.one_of(
            st.integers(1, 9 << 20),
            st.sampled_from([1, 64, MIN_CHUNK_BYTES - 1, MIN_CHUNK_BYTES, MAX_CHUNK_BYTES]),
        ),
    ),
    max_size=4,
)


@KINDS
@settings(max_examples=15)
@given(pieces=PIECES)
@example(pieces=[(False, 24 << 20)])
@example(pieces=[(True, (16 << 20) + 5)])
def test_cut_points_do_not_depend_on_how_the_content_was_read(kind, pieces):
    content = from_pieces(pieces)
    chunker = open_chunker(kind, POLYNOMIAL)
    at_once = list(chunker._cutter.lengths(content)) if len(content) > MIN_CHUNK_BYTES else []
    tail = len(content) - sum(at_once)
    expected = [*at_once, tail] if tail else at_once
    assert cut(chunker, content) == cut_stream(chunker, content) == expected
    assert all(MIN_CHUNK_BYTES <= length <= MAX_CHUNK_BYTES for length in expected[:-1])


@KINDS
@settings(max_examples=25)
@given(end=st.integers(MIN_CHUNK_BYTES + 1, len(SOURCE)))
def test_cuts_of_a_block_are_those_of_whatever_it_is_the_beginning_of(kind, end):
    cutter = open_chunker(kind, POLYNOMIAL)._cutter
    beginning = list(cutter.lengths(SOURCE[:end]))
    assert list(cutter.lengths(SOURCE))[: len(beginning)] == beginning
    assert end - sum(beginning) < MAX_CHUNK_BYTES


@KINDS
def test_changed_bytes_change_the_chunks_around_them_only(kind):
    chunker = open_chunker(kind, POLYNOMIAL)
    content = SOURCE[:10_000_000] + b"inserted" + SOURCE[10_000_000:]
    before = {bytes(chunk) for chunk in expanded(chunker.stream_chunks(File(SOURCE).read_at))}
    after = {bytes(chunk) for chunk in expanded(chunker.stream_chunks(File(content).read_at))}
    assert len(after - before) <= 2


@KINDS
def test_another_polynomial_cuts_elsewhere(kind):
    one, other = (
        cut(open_chunker(kind, which), SOURCE) for which in (POLYNOMIAL, 0x35873EC6C29629)
    )
    assert one != other


@KINDS
@pytest.mark.parametrize("size_bytes", [0, 1, MIN_CHUNK_BYTES])
def test_small_files_are_one_chunk_and_read_once(kind, size_bytes):
    file = File(SOURCE[:size_bytes])
    chunks = list(open_chunker(kind, POLYNOMIAL).chunks(file.read_at, size_bytes))
    assert chunks == ([file.content] if size_bytes else [])
    assert len(file.reads) == len(chunks)


@KINDS
def test_file_that_ends_early_ends_the_chunks(kind):
    file = File(SOURCE[: 3 << 20])
    chunks = expanded(open_chunker(kind, POLYNOMIAL).chunks(file.read_at, 20 << 20))
    assert b"".join(chunks) == file.content
    assert not list(open_chunker(kind, POLYNOMIAL).chunks(File(b"").read_at, 20 << 20))


EXTENTS = st.lists(
    st.tuples(
        st.sampled_from([4096, MIN_CHUNK_BYTES - 4096, MIN_CHUNK_BYTES, 3 << 20, 9 << 20]),
        st.sampled_from([4096, MIN_CHUNK_BYTES, 1_500_000]),
    ),
    max_size=3,
)


@KINDS
@settings(max_examples=20)
@given(holes_and_data=EXTENTS, last_hole=st.sampled_from([0, 4096, 5 << 20]))
def test_file_with_holes_comes_back_and_long_holes_are_not_read(kind, holes_and_data, last_hole):
    content, extents = bytearray(), list[Extent]()
    for hole, data in holes_and_data:
        content += bytes(hole)
        extents.append(Extent(len(content), data))
        content += SOURCE[len(content) :][:data]
    content += bytes(last_hole)
    chunker = open_chunker(kind, POLYNOMIAL)
    file = File(bytes(content))
    chunks = expanded(chunker.chunks(file.read_at, len(content), extents))
    assert b"".join(chunks) == content
    assert all(len(chunk) <= MAX_CHUNK_BYTES for chunk in chunks)
    if kind == RABIN:
        assert [len(chunk) for chunk in chunks] == cut(chunker, bytes(content))
    else:
        ends = [0, *(one.offset + one.length_bytes for one in extents)]
        starts = [*(one.offset for one in extents), len(content)]
        long_holes = [
            (end, start)
            for end, start in zip(ends, starts, strict=True)
            if start - end >= MIN_CHUNK_BYTES
        ]
        assert not [
            (offset, length)
            for offset, length in file.reads
            for end, start in long_holes
            if offset < start and offset + length > end
        ]


@KINDS
def test_terabyte_of_nothing_is_a_few_runs_of_zeros(kind):
    size_bytes = (1 << 40) + 4096 * 777

    def read_at(offset: int, length_bytes: int) -> bytes:
        assert offset >= size_bytes - MIN_CHUNK_BYTES
        return bytes(length_bytes)

    chunks = list(open_chunker(kind, POLYNOMIAL).chunks(read_at, size_bytes, []))
    assert len(chunks) < 10
    total = sum(
        chunk.chunk_bytes * chunk.chunk_count if isinstance(chunk, ZeroRun) else len(chunk)
        for chunk in chunks
    )
    assert total == size_bytes


def test_short_holes_do_not_make_short_chunks():
    torn = [Extent(offset, 4096) for offset in range(0, 16 << 20, 8192)]
    content = bytearray(16 << 20)
    for offset, length in torn:
        content[offset : offset + length] = SOURCE[offset : offset + length]
    lengths = cut(open_chunker(FASTCDC, POLYNOMIAL), bytes(content), torn)
    assert all(length >= MIN_CHUNK_BYTES for length in lengths[:-1])


@KINDS
@pytest.mark.parametrize("is_stream", [False, True])
def test_two_blocks_are_in_memory_however_long_the_file(kind, is_stream):
    def read_at(offset: int, length_bytes: int) -> bytes:
        start = offset % (8 << 20)
        return SOURCE[start : start + min(length_bytes, (64 << 20) - offset)]

    chunker = open_chunker(kind, POLYNOMIAL)
    list(chunker.chunks(read_at, 8 << 20))
    tracemalloc.start()
    try:
        chunks = chunker.stream_chunks(read_at) if is_stream else chunker.chunks(read_at, 64 << 20)
        for chunk in chunks:
            del chunk
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Of a stream the rest of the block before is there, too.
    assert peak < (3 if is_stream else 2) * MAX_CHUNK_BYTES
