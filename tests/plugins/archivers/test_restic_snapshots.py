"""Snapshots are documents that restic reads, and those of others are read and kept whole."""

import json
from datetime import UTC, datetime

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.model.snapshots import Counts, Snapshot
from backapp_plugins.archivers.restic.format.snapshots import (
    SnapshotBroken,
    Totals,
    decode_snapshot,
    encode_snapshot,
    retagged,
)

ID, TREE, OTHER = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
SNAPSHOT = Snapshot(
    id=ID.hex(),
    taken_at=NOW,
    hostname="host",
    username="me",
    roots=(b"/a<b", "/ä".encode()),
    tags=("x", "y"),
    parent_id=OTHER.hex(),
    program="BackApp 0.1.0",
    counts=Counts(
        files_new=1,
        files_changed=2,
        files_unmodified=3,
        directories=15,
        others=7,
        problems=8,
        processed_bytes=9,
        read_bytes=10,
        stored_bytes=11,
    ),
)
TOTALS = Totals(
    started_at=NOW,
    ended_at=NOW,
    folders_new=4,
    folders_changed=5,
    folders_unmodified=6,
    data_blobs=12,
    tree_blobs=13,
    new_bytes=14,
    stored_bytes=11,
)
FOREIGN = (
    b'{"time":"2022-05-06T07:08:09.123456789+02:00","tree":"%b","paths":["/z","/a"],'
    b'"hostname":"h","username":"u","uid":1000,"gid":1000,"label":"l\\u00e4 "'
    b',"delete":{"a":[1,  2]},"excludes":["*.o"]}'
) % TREE.hex().encode()


def written(snapshot: Snapshot = SNAPSHOT, **ids: int) -> bytes:
    return encode_snapshot(snapshot, TREE, TOTALS, **ids)


def test_snapshot_comes_back():
    record = decode_snapshot(written(), ID)
    assert record.snapshot == SNAPSHOT
    assert record.tree == TREE


def test_fields_stand_in_the_order_of_restic():
    found = json.loads(written(evolve(SNAPSHOT, original_id=OTHER.hex()), uid=1, gid=2))
    assert list(found) == [
        *("time", "parent", "tree", "paths", "hostname", "username", "uid", "gid", "tags"),
        *("original", "program_version", "summary", "backapp"),
    ]
    assert list(found["summary"]) == [
        *("backup_start", "backup_end", "files_new", "files_changed", "files_unmodified"),
        *("dirs_new", "dirs_changed", "dirs_unmodified", "data_blobs", "tree_blobs", "data_added"),
        *("data_added_packed", "total_files_processed", "total_bytes_processed"),
    ]
    assert list(found["summary"].values())[2:] == [1, 2, 3, 4, 5, 6, 12, 13, 14, 11, 6, 9]


def test_what_is_nothing_is_left_out():
    plain = evolve(SNAPSHOT, tags=(), parent_id=None, program="", hostname="")
    found = json.loads(written(plain))
    assert list(found) == ["time", "tree", "paths", "username", "summary", "backapp"]


def test_strings_are_escaped_as_by_go():
    assert rb'"paths":["/a\u003cb","/' + "ä".encode() in written()


@given(st.lists(st.binary(max_size=6).map(lambda raw: b"/" + raw), max_size=4))
def test_roots_of_any_bytes_come_back(roots):
    snapshot = evolve(SNAPSHOT, roots=tuple(sorted(set(roots))))
    assert decode_snapshot(written(snapshot), ID).snapshot == snapshot


def test_root_that_is_no_utf8_is_called_as_restic_calls_it():
    document = written(evolve(SNAPSHOT, roots=(b"/\xff\xe2\x82",)))
    assert json.loads(document)["paths"] == ["/\ufffd\ufffd\ufffd"]


def test_roots_are_the_paths_once_restic_has_rewritten_a_snapshot():
    fields = json.loads(written(evolve(SNAPSHOT, roots=(b"/\xff",))))
    del fields["backapp"]
    again = decode_snapshot(json.dumps(fields).encode(), ID).snapshot
    assert again.roots == ("/\ufffd".encode(),)
    assert again.counts == evolve(SNAPSHOT.counts, others=0, problems=0, read_bytes=0)


def test_paths_that_somebody_changed_count():
    fields = json.loads(written(evolve(SNAPSHOT, roots=(b"/\xff",))))
    fields["paths"] = ["/other"]
    assert decode_snapshot(json.dumps(fields).encode(), ID).snapshot.roots == (b"/other",)


def test_snapshot_of_others_is_read():
    snapshot = decode_snapshot(FOREIGN, ID).snapshot
    assert snapshot.taken_at == datetime(2022, 5, 6, 5, 8, 9, 123_456, tzinfo=UTC)
    assert snapshot.roots == (b"/a", b"/z")
    assert (snapshot.tags, snapshot.parent_id, snapshot.original_id) == ((), None, None)
    assert (snapshot.program, snapshot.counts) == ("", Counts())


def test_the_clock_of_the_machine_that_took_it_is_kept():
    snapshot = decode_snapshot(FOREIGN, ID).snapshot
    assert snapshot.taken_at == datetime(2022, 5, 6, 5, 8, 9, 123_456, tzinfo=UTC)
    assert snapshot.utc_offset_seconds == 7200
    assert snapshot.taken_there_at.hour == 7


def test_tags_come_in_order_and_once():
    document = FOREIGN[:-1] + b',"tags":["b","a","b"]}'
    assert decode_snapshot(document, ID).snapshot.tags == ("a", "b")


def test_strings_that_only_go_reads_are_read():
    document = FOREIGN.replace(b'"h"', b'"h\xff\\ud800"')
    record = decode_snapshot(document, ID)
    assert record.snapshot.hostname == "h\ufffd\ufffd"
    assert json.loads(retagged(record, ()))["hostname"] == "h\ufffd\ufffd"


def test_other_tags_leave_everything_else_as_it_was():
    document = retagged(decode_snapshot(FOREIGN, ID), ["y", "x", "y", "<\udcff"])
    assert document == (
        FOREIGN.replace(b',"label":"l\\u00e4 ","delete":{"a":[1,  2]}', b"")[:-1]
        + b',"tags":["\\u003c\xef\xbf\xbd","x","y"],"original":"%b"' % ID.hex().encode()
        + b',"label":"l\\u00e4 ","delete":{"a":[1,  2]}}'
    )
    assert decode_snapshot(document, OTHER).snapshot == evolve(
        decode_snapshot(FOREIGN, OTHER).snapshot,
        tags=("<\ufffd", "x", "y"),
        original_id=ID.hex(),
    )


def test_original_is_that_of_the_first_change():
    once = retagged(decode_snapshot(written(), ID), ["a"])
    twice = retagged(decode_snapshot(once, OTHER), [])
    assert json.loads(twice)["original"] == ID.hex()
    assert "tags" not in json.loads(twice)
    kept = decode_snapshot(twice, OTHER).snapshot
    assert kept == SNAPSHOT.tagged((), new_id=OTHER.hex())


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(FOREIGN) | fields).encode()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[]",
        b'{"x":' + b"[" * 100_000,
        b'{"\xff":' + b"[" * 100_000,
        FOREIGN[:-1],
        changed(time="today"),
        changed(time="0000-01-01T00:00:00Z"),
        changed(time="0000-12-31T23:00:00-02:00"),
        changed(time=None),
        changed(tree="ab"),
        changed(tree="AB" * 32 + "\n"),
        changed(tree=None),
        changed(parent="x"),
        changed(paths="/a"),
        changed(tags=[1]),
        changed(summary={"files_new": -1}),
        changed(backapp={"roots": ["!"]}),
    ],
)
def test_what_is_no_snapshot_is_refused(document):
    with pytest.raises(SnapshotBroken):
        decode_snapshot(document, ID)
