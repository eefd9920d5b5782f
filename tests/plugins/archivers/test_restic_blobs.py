"""One blob: compressed where that gains something, sealed, and proved to come back."""

import os
import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.errors import DamagedRepository
from backapp_core.model.compressions import Compression
from backapp_plugins.archivers.restic.format.blobs import BlobBroken, BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import SEAL_BYTES

KEY = MasterKey(bytes(range(32)), bytes(range(16)), bytes(range(16, 32)))
LONG = 1 << 20


def codec(compression: Compression = Compression.AUTO) -> BlobCodec:
    return BlobCodec(KEY, os.urandom, compression)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


NOISE = noise(LONG)


def encoded(data: bytes, compression: Compression = Compression.AUTO) -> tuple[bytes, int]:
    """Return what is stored of ``data``, after reading it back."""
    blob_id = sha256(data).digest()
    sealed, uncompressed = codec(compression).encode_content(data, blob_id)
    assert codec().decode(bytes(sealed), uncompressed, blob_id) == data
    return bytes(sealed), uncompressed


@pytest.mark.parametrize("compression", [*Compression])
def test_what_is_noise_all_over_stands_as_it_is(compression):
    sealed, uncompressed = encoded(noise(LONG), compression)
    assert (len(sealed), uncompressed) == (LONG + SEAL_BYTES, 0)


@given(start=st.integers(0, LONG - LONG // 64))
def test_whatever_gains_something_is_compressed(start):
    mixed = NOISE[:start] + b"the same again. " * (LONG // 1024) + NOISE[start + LONG // 64 :]
    assert len(mixed) == LONG
    sealed, uncompressed = encoded(mixed)
    assert uncompressed == LONG
    assert len(sealed) < LONG * 99 // 100


def test_noise_that_stands_there_twice_takes_the_room_of_one():
    sealed, uncompressed = encoded(noise(LONG // 2) * 2)
    assert uncompressed == LONG
    assert len(sealed) < LONG * 51 // 100


def test_what_is_short_is_compressed_whatever_it_is():
    assert encoded(noise(100_000))[1] == 100_000
    assert encoded(b"1")[1] == 1


@pytest.mark.parametrize("data", [noise(LONG), b"text " * LONG, noise(10)])
def test_what_was_altered_since_is_no_blob(data):
    blob_id = sha256(data).digest()
    sealed, uncompressed = codec().encode_content(data, blob_id)
    altered = bytearray(sealed)
    altered[len(altered) // 2] ^= 1
    with pytest.raises(BlobBroken):
        codec().decode(bytes(altered), uncompressed, blob_id)


@pytest.mark.parametrize("data", [noise(LONG), b"text " * LONG])
def test_what_does_not_come_back_is_not_stored(data):
    with pytest.raises(DamagedRepository, match="test this machine's memory"):
        codec().encode_content(data, bytes(32))


def test_a_view_holds_until_the_next_is_made():
    ours = codec()
    first, second = noise(LONG), noise(LONG - 1)
    view = ours.encode_content(first, sha256(first).digest()).sealed
    kept = bytes(view)
    assert ours.decode(kept, 0, sha256(first).digest()) == first
    assert bytes(view) == kept  # opening something does not touch it
    ours.encode_content(second, sha256(second).digest())
    assert bytes(view) != kept
