"""Index files are read whole or refused with a reason, and written as restic writes them."""

import json
import random
import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest

from backapp_plugins.archivers.restic.format.layout import MAX_INDEX_BLOBS, BlobKind
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.files import (
    IndexBroken,
    MarkedPack,
    WaitingPack,
    decode_index,
    encode_index,
    encode_indexes,
    index_of,
)

_FILE = b"f" * 32
_PACK = b"p" * 32
_GONE = b"g" * 32
_DATA = PackEntry(BlobKind.DATA, b"d" * 32, 0, 150, 0)
_TREE = PackEntry(BlobKind.TREE, b"t" * 32, 150, 40, 3000)


def _blob(**changes: object) -> dict[str, object]:
    blob = {"id": "ab" * 32, "type": "data", "offset": 0, "length": 38}
    return {key: value for key, value in (blob | changes).items() if value is not None}


def _document(**changes: object) -> bytes:
    return json.dumps({"packs": [{"id": "cd" * 32, "blobs": [_blob(**changes)]}]}).encode()


def test_an_index_file_is_compact_and_leaves_out_what_is_zero():
    assert encode_index([(_PACK, [_DATA, _TREE])]) == (
        b'{"packs":[{"id":"' + b"70" * 32 + b'","blobs":['
        b'{"id":"' + b"64" * 32 + b'","type":"data","offset":0,"length":150},'
        b'{"id":"' + b"74" * 32 + b'","type":"tree","offset":150,"length":40,'
        b'"uncompressed_length":3000}]}]}\n'
    )


def test_blobs_are_read_data_first():
    columns = decode_index(encode_index([(_PACK, [_TREE, _DATA])]), _FILE)
    assert columns.tree_start == 1
    assert columns.blob_id.tolist() == [_DATA.blob_id, _TREE.blob_id]
    assert columns.offset.tolist() == [0, 150]
    assert columns.length.tolist() == [150, 40]
    assert columns.uncompressed.tolist() == [0, 3000]
    assert columns.pack_id.tolist() == [_PACK]
    assert columns.file_id.tolist() == [_FILE]


def test_packs_to_delete_are_read_with_their_time_and_size():
    marked_at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    marked = [MarkedPack(_GONE, [_TREE], marked_at, 1234), MarkedPack(b"h" * 32, [], None)]
    document = encode_index([(_PACK, [_DATA])], marked)
    assert b'"packs_to_delete":[{"id":"' + b"67" * 32 in document
    assert b'"time":"2026-01-02T03:04:05.678901Z","size":1234}' in document
    columns = decode_index(document, _FILE)
    assert columns.pack_id.tolist() == [_PACK, _GONE, b"h" * 32]
    assert columns.pack_is_marked.tolist() == [False, True, True]
    assert columns.pack_claimed_bytes.tolist() == [0, 1234, 0]
    assert columns.pack_noted_at[1] == np.datetime64(marked_at.replace(tzinfo=None), "us")
    assert np.isnat(columns.pack_noted_at[[0, 2]]).all()


@pytest.mark.parametrize(
    "time", ["2026-01-02T04:04:05.123456789+01:00", "2026-01-02T03:04:05.123457Z"]
)
def test_times_are_read_in_any_zone_and_to_the_nanosecond(time):
    pack = {"id": "cd" * 32, "blobs": [], "time": time}
    columns = decode_index(json.dumps({"packs": [], "packs_to_delete": [pack]}).encode(), _FILE)
    assert columns.pack_noted_at[0] == np.datetime64("2026-01-02T03:04:05.123457", "us")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_ends_of_the_calendar_are_read(time):
    pack = {"id": "cd" * 32, "blobs": [], "time": time}
    columns = decode_index(json.dumps({"packs": [pack]}).encode(), _FILE)
    assert not np.isnat(columns.pack_noted_at[0])


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b'{"packs":null}',
        b'{"packs":[],"supersedes":["00"],"unknown":{"a":[1]}}',
        b'{"packs":[],"packs_to_delete":null}',
    ],
)
def test_an_index_file_may_name_no_packs_and_hold_what_is_unknown_here(document):
    if document == b"{}":
        with pytest.raises(IndexBroken, match="packs"):
            decode_index(document, _FILE)
    else:
        assert len(decode_index(document, _FILE).pack_id) == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "ab" * 31}, "64"),
        ({"id": "ab" * 31 + "  "}, "hexadecimal"),
        ({"id": "ab" * 31 + "zz"}, "hexadecimal"),
        ({"id": "ab" * 31 + "é1"}, "hexadecimal"),
        ({"id": None}, "id"),
        ({"type": "file"}, "type"),
        ({"type": None}, "type"),
        ({"offset": -1}, "offset"),
        ({"offset": 2**32}, "offset"),
        ({"offset": 2**64}, "offset"),
        ({"offset": 1.5}, "offset"),
        ({"offset": "0"}, "offset"),
        ({"offset": None}, "offset"),
        ({"length": 31}, "length"),
        ({"length": 2**32}, "length"),
        ({"length": -(2**63)}, "length"),
        ({"length": None}, "length"),
        ({"uncompressed_length": 2**32}, "uncompressed_length"),
        ({"uncompressed_length": -1}, "uncompressed_length"),
    ],
)
def test_what_no_blob_can_have_is_refused_with_a_reason(changes, reason):
    with pytest.raises(IndexBroken, match=reason):
        decode_index(_document(**changes), _FILE)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"null",
        b'{"packs":[',
        b'{"packs":[]} x',
        b'{"packs":[{"id":"\xff\xfe"}]}',
        b'{"packs":' + b"[" * 100_000,
        b'{"packs":[{"id":"' + b"ab" * 32 + b'","blobs":[],"time":"yesterday"}]}',
        b'{"packs":[{"id":"' + b"ab" * 32 + b'","blobs":[],"time":"2026-01-01T00:00:00"}]}',
        b'{"packs":[{"id":"' + b"ab" * 32 + b'","blobs":[],"size":-1}]}',
    ],
)
def test_what_is_no_index_file_is_refused(document):
    with pytest.raises(IndexBroken):
        decode_index(document, _FILE)


def test_ids_may_be_written_in_capitals():
    assert decode_index(_document(id="AB" * 32), _FILE).blob_id.tolist() == [b"\xab" * 32]


def _packs(*counts: int) -> list[tuple[bytes, list[PackEntry]]]:
    return [(bytes([number]) * 32, [_DATA] * count) for number, count in enumerate(counts)]


def test_files_hold_no_more_blobs_than_they_may_and_packs_are_never_parted():
    packs = _packs(MAX_INDEX_BLOBS - 1, 1, 1, MAX_INDEX_BLOBS + 1, 2)
    marked = [MarkedPack(_GONE, [_DATA] * (MAX_INDEX_BLOBS - 1), None)]
    files = [decode_index(document, _FILE) for document in encode_indexes(packs, marked)]
    assert [len(file.blob_id) for file in files] == [
        MAX_INDEX_BLOBS,
        1,
        MAX_INDEX_BLOBS + 1,
        2,
        MAX_INDEX_BLOBS - 1,
    ]
    assert [pack for file in files for pack in file.pack_id.tolist()] == [
        *(pack for pack, _ in packs),
        _GONE,
    ]


def test_nothing_to_list_makes_no_file():
    assert list(encode_indexes([])) == []


def test_packs_that_waited_make_up_the_same_file():
    packs = [(bytes([number]) * 32, [_DATA, _TREE] * number) for number in range(4)]
    document = index_of([WaitingPack(*pack) for pack in packs])
    expected = encode_index(packs)
    assert b"".join(document.each()) == b"".join(document.each()) == expected
    assert document.size_bytes == len(expected)
    alone = index_of([WaitingPack(*packs[1])])
    assert (b"".join(alone.each()), alone.size_bytes) == (
        encode_index(packs[1:2]),
        len(encode_index(packs[1:2])),
    )


def test_reading_a_file_takes_little_more_than_its_columns():
    chance = random.Random(3)
    packs = [
        (
            chance.randbytes(32),
            [PackEntry(BlobKind.DATA, chance.randbytes(32), 0, 99, 700) for _ in range(500)],
        )
        for _ in range(40)
    ]
    document = encode_index(packs)
    tracemalloc.start()
    try:
        decode_index(document, _FILE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000 * 150
