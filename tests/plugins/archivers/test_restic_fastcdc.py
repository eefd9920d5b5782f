"""Cut points by FastCDC are frozen: another library, or another version, must find the same."""

import random

import pytest

from backapp_core.errors import PartMissing
from backapp_plugins.archivers.restic.chunking import fastcdc
from backapp_plugins.archivers.restic.chunking.cutter import ZeroRun
from backapp_plugins.archivers.restic.chunking.fastcdc import FastcdcCutter, seed_of

MIB = 1 << 20


def test_cut_points_are_the_frozen_ones():
    cutter = FastcdcCutter(0x35873EC6C29629)
    assert list(cutter.lengths(random.Random(1).randbytes(20 * MIB))) == [
        644507, 933617, 1526406, 727069, 2005109, 1173553, 2175077, 1437786, 852959, 1764149,
        1509784, 1552279, 1150853, 1416375, 1133247,
    ]  # fmt: skip
    cutter = FastcdcCutter(0x3DA3358B4DC173)
    assert list(cutter.lengths(random.Random(23).randbytes(32 * MIB))) == [
        2142190, 1157190, 2121714, 1487830, 772858, 1288947, 1084049, 528648, 1310772, 2266061,
        2797047, 1436461, 1418163, 1163312, 1203271, 574621, 1774368, 1246056, 1732011, 1271038,
        1111798, 607721, 1214100, 781847,
    ]  # fmt: skip


def test_constant_content_is_cut_at_the_longest_length():
    assert list(FastcdcCutter(0x3DA3358B4DC173).lengths(bytes(20 * MIB))) == [8 * MIB, 8 * MIB]


def test_seed_is_the_frozen_one():
    assert seed_of(0x35873EC6C29629) == 0x1F8F1E132F185CC8
    assert seed_of(0x3DA3358B4DC173) == 0x422BFD6C8BB830B6


def test_holes_become_few_lengths_of_zeros():
    cutter = FastcdcCutter(0x3DA3358B4DC173)
    assert list(cutter.zero_runs(23 * MIB + 4096)) == [
        ZeroRun(8 * MIB, 2),
        ZeroRun(4 * MIB, 1),
        ZeroRun(2 * MIB, 1),
        ZeroRun(1 * MIB, 1),
        ZeroRun(4096, 1),
    ]
    assert list(cutter.zero_runs(8 * MIB)) == [ZeroRun(8 * MIB, 1)]


def test_library_without_its_compiled_part_is_refused_with_a_way_out(monkeypatch):
    class FastCDC:
        __module__ = "pyfastcdc.py.fastcdc"

    monkeypatch.setattr(fastcdc, "FastCDC", FastCDC)
    with pytest.raises(PartMissing, match="pip install"):
        FastcdcCutter(0x3DA3358B4DC173)
