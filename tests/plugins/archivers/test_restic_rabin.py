"""Cut points by Rabin fingerprints are those of restic, whichever code finds them."""

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backapp_plugins.archivers.restic.chunking import rabin
from backapp_plugins.archivers.restic.chunking.rabin import RabinCutter
from backapp_plugins.archivers.restic.chunking.rabin_numba import compiled_finder
from backapp_plugins.archivers.restic.chunking.rabin_numpy import portable_finder
from backapp_plugins.archivers.restic.chunking.rabin_tables import RabinTables
from backapp_plugins.archivers.restic.format.layout import MIN_CHUNK_BYTES

MIB = 1 << 20
POLYNOMIAL = 0x3DA3358B4DC173
FINDERS = pytest.mark.parametrize("make_finder", [portable_finder, compiled_finder])
NOISE = random.Random(8).randbytes(3 * MIB)


@pytest.fixture(params=["numpy", "numba"])
def is_compiled(request, monkeypatch):
    if request.param == "numba":
        monkeypatch.setattr(rabin, "_WORTH_COMPILING_BYTES", 0)


@pytest.mark.usefixtures("is_compiled")
def test_noise_is_cut_as_restic_cuts_it():
    # What `restic ls --json` and `restic cat blob` say of such files.
    cutter = RabinCutter(0x35873EC6C29629)
    assert list(cutter.lengths(random.Random(1).randbytes(20 * MIB))) == [
        1279563, 924615, 1536870, 1296928, 4170514, 634806, 700325, 2079199, 771095, 1091412,
        2244129, 1385857, 2796994,
    ]  # fmt: skip
    cutter = RabinCutter(POLYNOMIAL)
    assert list(cutter.lengths(random.Random(23).randbytes(32 * MIB))) == [
        2994694, 2299243, 682529, 2035029, 2025678, 576279, 678760, 902722, 1326595, 760871,
        918678, 686917, 793874, 2042420, 3507595, 1883489, 2067223, 2489456, 1151797, 778383,
    ]  # fmt: skip


@pytest.mark.usefixtures("is_compiled")
def test_constant_content_is_cut_as_restic_cuts_it():
    cutter = RabinCutter(POLYNOMIAL)
    assert list(cutter.lengths(b"\xff" * (20 * MIB))) == [8 * MIB, 8 * MIB]
    assert list(cutter.lengths(bytes(3 * MIB))) == [MIN_CHUNK_BYTES] * 6


@FINDERS
@settings(max_examples=40)
@given(
    place=st.one_of(
        st.integers(MIN_CHUNK_BYTES, len(NOISE)),
        st.integers(MIN_CHUNK_BYTES, MIN_CHUNK_BYTES + 2000),
        st.integers(len(NOISE) - 2000, len(NOISE)),
    ),
    low_by=st.integers(-3, 3),
    high_by=st.integers(-3, 3),
)
def test_cut_is_found_at_any_place_and_only_between_the_bounds(make_finder, place, low_by, high_by):
    # 64 zeros have the fingerprint zero.
    block = NOISE[: place - 64] + bytes(64) + NOISE[place:]
    low, high = max(place + low_by, MIN_CHUNK_BYTES), min(place + high_by, len(block))
    if high < low:
        return
    expected = [one for one in range(low, high + 1) if fingerprint(block[one - 64 : one]) == 0]
    assert make_finder(RabinTables(POLYNOMIAL), block)(low, high) == (expected or [0])[0]


@settings(max_examples=20)
@given(
    zeros=st.lists(st.tuples(st.integers(0, len(NOISE)), st.integers(60, 40_000)), max_size=6),
    length=st.integers(MIN_CHUNK_BYTES, len(NOISE)),
)
def test_compiled_and_portable_code_find_the_same(zeros, length):
    block = bytearray(NOISE)
    for start, count in zeros:
        block[start : start + count] = bytes(len(block[start : start + count]))
    block = bytes(block[:length])
    tables = RabinTables(POLYNOMIAL)
    compiled, portable = compiled_finder(tables, block), portable_finder(tables, block)
    low = MIN_CHUNK_BYTES
    while low <= length:
        found = compiled(low, length)
        assert found == portable(low, length)
        if not found:
            break
        low = found + 8191


def test_without_numba_numpy_cuts_everything(monkeypatch):
    monkeypatch.setitem(sys.modules, "backapp_plugins.archivers.restic.chunking.rabin_numba", None)
    rabin._fastest_finder.cache_clear()
    assert rabin._fastest_finder() is portable_finder
    rabin._fastest_finder.cache_clear()
    monkeypatch.undo()
    assert rabin._fastest_finder() is compiled_finder


def test_little_content_is_cut_without_loading_the_compiler(monkeypatch):
    monkeypatch.setattr(rabin, "_fastest_finder", lambda: pytest.fail("loads the compiler"))
    assert list(RabinCutter(POLYNOMIAL).lengths(NOISE + bytes(MIB)))


def fingerprint(window: bytes) -> int:
    """Return the bits that decide, by long division."""
    value = int.from_bytes(window, "big")
    while (excess := value.bit_length() - POLYNOMIAL.bit_length()) >= 0:
        value ^= POLYNOMIAL << excess
    return value & (MIB - 1)
