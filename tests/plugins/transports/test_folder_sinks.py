"""What is written to a file, past the system's cache or not, is what stands in it."""

import errno
import mmap
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_plugins.transports.folder import sinks
from backapp_plugins.transports.folder.sinks import Sink

MIB = 1 << 20
LENGTHS = st.sampled_from([0, 1, 511, 512, 4096, 8192, MIB - 1, MIB, MIB + 512, 2 * MIB])


@pytest.fixture
def descriptor(tmp_path):
    descriptor = os.open(tmp_path / "object", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def aligned(data: bytes) -> memoryview:
    """Return ``data`` in memory that begins at a page, as packs are built in it."""
    if not data:
        return memoryview(b"")
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memoryview(memory)


def is_past_the_cache(descriptor: int, offset: int) -> bool:
    """Say whether the system would have to ask the disk for what stands there."""
    try:
        os.preadv(descriptor, [bytearray(512)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    return False


def can_go_past_the_cache(descriptor: int) -> bool:
    """Say whether a file is on one disk, and its system lets it."""
    path = f"/proc/self/fd/{descriptor}"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_DIRECT))
    except OSError:
        return False
    return os.major(os.fstat(descriptor).st_dev) != 0


@given(
    chunks=st.lists(st.tuples(LENGTHS, st.booleans()), max_size=8),
    seed=st.integers(0, 1000),
    is_said=st.booleans(),
)
def test_any_chunks_stand_in_the_file_in_order(tmp_path_factory, chunks, seed, is_said):
    content = [random.Random(seed + at).randbytes(size) for at, (size, _) in enumerate(chunks)]
    whole = b"".join(content)
    path = tmp_path_factory.mktemp("sink") / "object"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        sink = Sink(descriptor, expected_bytes=max(len(whole), 4 * MIB) if is_said else None)
        for data, (_, is_aligned) in zip(content, chunks, strict=True):
            sink.write(aligned(data) if is_aligned else data)
        sink.flush()
    finally:
        os.close(descriptor)
    assert path.read_bytes() == whole
    path.unlink()


def test_long_content_does_not_take_the_place_of_others_in_the_cache(descriptor):
    sink = Sink(descriptor, expected_bytes=4 * MIB + 5)
    data = random.Random(1).randbytes(MIB)
    for _ in range(4):
        sink.write(aligned(data))
    sink.write(b"tail!")
    sink.flush()
    os.fsync(descriptor)
    assert is_past_the_cache(descriptor, 0) is can_go_past_the_cache(descriptor)
    assert os.pread(descriptor, 5 * MIB, 0) == data * 4 + b"tail!"


@pytest.mark.parametrize("expected_bytes", [None, 4 * MIB - 1])
def test_short_content_stays_in_the_cache(descriptor, expected_bytes):
    sink = Sink(descriptor, expected_bytes=expected_bytes)
    for _ in range(3):
        sink.write(aligned(bytes(MIB)))
    sink.flush()
    assert not is_past_the_cache(descriptor, 0)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_cannot_go_past_the_cache_is_written_through_it(descriptor, monkeypatch, number):
    refusals = []
    write = os.write

    def refusing(file, data):
        if sink._is_direct:
            refusals.append(len(data))
            raise OSError(number, "not from there, or not at all")
        return write(file, data)

    sink = Sink(descriptor, expected_bytes=8 * MIB)
    sink._is_direct = True  # as on a disk, wherever this runs
    monkeypatch.setattr(sinks.os, "write", refusing)
    data = random.Random(2).randbytes(2 * MIB)
    sink.write(data)
    sink.write(data)
    assert refusals == [2 * MIB]
    assert os.pread(descriptor, 5 * MIB, 0) == data * 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EFBIG])
def test_other_refusals_are_told(descriptor, monkeypatch, number):
    def fail(_descriptor, _data):
        raise OSError(number, "no")

    sink = Sink(descriptor, expected_bytes=8 * MIB)
    monkeypatch.setattr(sinks.os, "write", fail)
    with pytest.raises(OSError, match="no") as raised:
        sink.write(bytes(MIB))
    assert raised.value.errno == number


def test_a_refusal_without_going_past_the_cache_is_told(descriptor, monkeypatch):
    def fail(_descriptor, _data):
        raise OSError(errno.EINVAL, "no")

    sink = Sink(descriptor, expected_bytes=None)
    monkeypatch.setattr(sinks.os, "write", fail)
    with pytest.raises(OSError, match="no"):
        sink.write(bytes(MIB))
