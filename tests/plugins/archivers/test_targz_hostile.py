"""Manifests and members written by somebody who means harm, with hashes that are right."""

import gzip
import hashlib
import json
import os
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import BackappError, DamagedRepository
from backapp_core.testing.faults import flip_bit
from backapp_plugins.archivers.targz import layout
from backapp_plugins.archivers.targz.gzip_members import (
    MEMBER_BYTES,
    BadMember,
    decompress_member,
    load_codec,
)

CODECS = {"zlib": zlib, "chosen": load_codec()}
FACTS = {"mode": 420, "uid": 0, "gid": 0, "mtime": 1, "ctime": 1, "ino": 1, "dev": 1}
CONTENT = b"harmless content"


def _entry(**facts: object) -> dict[str, object]:
    whole = {
        "name": "file",
        "type": "file",
        **FACTS,
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "at": [0, 512],
    }
    return {**whole, **facts}


def _link(**facts: object) -> dict[str, object]:
    return {"name": "link", "type": "symlink", **FACTS, "target": "file", **facts}


def _directory(path: str, listed: list[dict[str, object]], /, **facts: object) -> bytes:
    raw = b"".join(json.dumps(entry).encode() + b"\n" for entry in listed)
    head = {**FACTS, "mode": 493, "dir": path, "entries": len(listed), "bytes": len(raw)}
    return json.dumps({**head, **facts}).encode() + b"\n" + raw


class Villain:
    """Writes snapshots of any content into a repository that is otherwise sound."""

    def __init__(self, bench) -> None:
        self.bench = bench
        archive = gzip.compress(b"h" * 512 + CONTENT + bytes(496 + 1024))
        self.archive = {"archive": 0, "name": "archives/evil.tar.gz", "members": [len(archive)]}
        self._put(self.archive["name"], archive)
        self._archive_bytes = archive

    def _put(self, name: str, data: bytes) -> layout.StoredObject:
        self.bench.transport.put(name, [data], replace=True)
        return layout.StoredObject(name, len(data), hashlib.sha256(data).hexdigest())

    def manifest(self, *directories: bytes, head: bytes | None = None, dirs: int = -1) -> bytes:
        start = b'{"manifest":1,"member_bytes":4194304}\n' + json.dumps(self.archive).encode()
        count = dirs if dirs >= 0 else len(directories)
        end = b'\n{"end":true,"dirs":%d}\n' % count
        # The end begins with the line feed of whatever stands before it.
        whole = b"".join((head or start + b"\n", *directories))
        return whole + end[1:]

    def publish(self, manifest: bytes, /, *, is_compressed: bool = False, **changes: object):
        data = manifest if is_compressed else gzip.compress(manifest)
        stored = self._put("manifests/evil.jsonl.gz", data)
        archive = self._put("archives/evil.tar.gz", self._archive_bytes)
        ref = layout.ArchiveRef(archive.name, archive.size, archive.sha256, 0)
        record = layout.Record(
            taken_at=self.bench.surroundings.clock.now(),
            hostname="evil",
            username="evil",
            roots=("/",),
            manifest=stored,
            manifest_sha256=stored.sha256,
            archives=(ref,),
            program="evil",
        )
        encoded = layout.encode(msgspec.structs.replace(record, **changes))
        snapshot_id = hashlib.sha256(encoded).hexdigest()
        self._put(layout.record_name(snapshot_id), encoded)
        found = [each for each in self.bench.repository.snapshots() if each.id == snapshot_id]
        return found[0] if found else None


@pytest.fixture
def villain(bench) -> Villain:
    return Villain(bench)


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """Return a folder with a target in it and things beside it that must stay as they are."""
    cell = tmp_path / "cell"
    (cell / "target").mkdir(parents=True)
    (cell / "beside").write_bytes(b"untouched")
    return cell


def _restore(bench, snapshot, cell: Path):
    target = FolderTarget(os.fsencode(cell / "target"), ExtractOptions(), bench.surroundings)
    try:
        bench.repository.restore(snapshot, target)
    finally:
        assert sorted(os.listdir(cell)) == ["beside", "target"]
        assert (cell / "beside").read_bytes() == b"untouched"
    return target.outcome


def test_the_villains_tools_make_sound_snapshots_too(villain, bench, cell):
    snapshot = villain.publish(villain.manifest(_directory("/d", [_entry(), _link()])))
    assert _restore(bench, snapshot, cell).problems == 0
    assert (cell / "target/d/file").read_bytes() == CONTENT
    assert bench.repository.check(read_data=True).is_clean


BAD_ENTRIES = {
    "parent": _entry(name=".."),
    "self": _entry(name="."),
    "slash": _entry(name="../beside"),
    "absolute": _entry(name="/etc/passwd"),
    "NUL": _entry(name="a\\x00b"),
    "raw NUL": _entry(name="a\0b"),
    "escaped slash": _entry(name="a\\x2fb"),
    "escaped parent": _entry(name="\\x2e\\x2e"),
    "empty": _entry(name=""),
    "lone surrogate": _entry(name="\ud800"),
    "unknown type": _entry(type="door"),
    "a directory": _entry(type="dir"),
    "negative size": _entry(size=-1),
    "endless size": _entry(size=2**63),
    "size beyond words": _entry(size=10**30),
    "larger than stored": _entry(size=2**62),
    "text for size": _entry(size="many"),
    "negative mode": _entry(mode=-1),
    "large mode": _entry(mode=0o10000),
    "negative owner": _entry(uid=-1),
    "large owner": _entry(gid=2**32),
    "endless time": _entry(mtime=10**40),
    "another hash": _entry(sha256="0" * 64),
    "no hash": _entry(sha256=""),
    "unknown archive": _entry(at=[7, 0]),
    "negative archive": _entry(at=[-1, 0]),
    "place beyond the end": _entry(at=[0, 10**15]),
    "negative place": _entry(at=[0, -512]),
    "half a place": _entry(at=[0]),
    "no place": _entry(at=None),
    "place of a link": _link(at=[0, 0]),
    "target with NUL": _link(target="a\\x00b"),
    "negative device": _link(type="chardev", rdev=-1),
    "large device": _link(type="chardev", rdev=2**64),
    "overlapping extents": _entry(extents=[[0, 10], [5, 6]]),
    "unsorted extents": _entry(extents=[[8, 8], [0, 8]]),
    "negative extent": _entry(extents=[[-1, 17]]),
    "extent of negative length": _entry(extents=[[0, -16]]),
    "extent beyond the size": _entry(extents=[[0, 17]]),
    "endless extent": _entry(extents=[[0, 2**70]]),
    "attribute that is no base64": _entry(xattrs={"user.a": "*"}),
    "attribute without a name": _entry(xattrs={"": ""}),
    "attribute with NUL": _entry(xattrs={"user.a\\x00b": ""}),
    "no facts": {"name": "file", "type": "file"},
}


@pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_an_entry_that_cannot_be_is_refused(villain, bench, cell, entry):
    manifest = villain.manifest(_directory("/d", [entry]))
    snapshot = villain.publish(manifest)
    try:
        outcome = _restore(bench, snapshot, cell)
    except DamagedRepository:
        pass
    else:
        assert [path for path, _ in outcome.not_restored] == [b"/d/file"]
    below = [path.name for path in (cell / "target").rglob("*") if path.name != "d"]
    assert below == []
    assert not bench.repository.check(read_data=True).is_clean


def _deep() -> bytes:
    return b'{"dir":"/d","mode":493,"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"


BAD_SHAPES: dict[str, Callable[[Villain], bytes]] = {
    "a relative directory": lambda v: v.manifest(_directory("d", [])),
    "a directory above": lambda v: v.manifest(_directory("/..", [])),
    "a directory above within": lambda v: v.manifest(_directory("/d/../../e", [])),
    "a directory with NUL": lambda v: v.manifest(_directory("/d\\x00", [])),
    "an empty part": lambda v: v.manifest(_directory("/d//e", [])),
    "a slash at the end": lambda v: v.manifest(_directory("/d/", [])),
    "a directory twice": lambda v: v.manifest(_directory("/d", []), _directory("/d", [])),
    "unsorted directories": lambda v: v.manifest(_directory("/e", []), _directory("/d", [])),
    "a child before its parent": lambda v: v.manifest(_directory("/d/e", []), _directory("/d", [])),
    "a name twice": lambda v: v.manifest(_directory("/d", [_entry(), _entry()])),
    "unsorted names": lambda v: v.manifest(_directory("/d", [_link(), _entry()])),
    "endless time of a directory": lambda v: v.manifest(_directory("/d", [], mtime=10**40)),
    "fewer entries than promised": lambda v: v.manifest(_directory("/d", [], entries=1)),
    "more entries than promised": lambda v: v.manifest(_directory("/d", [_entry()], entries=0)),
    "a million entries promised": lambda v: v.manifest(_directory("/d", [], entries=10**6)),
    "negative entries": lambda v: v.manifest(_directory("/d", [], entries=-1)),
    "negative bytes": lambda v: v.manifest(_directory("/d", [], bytes=-1)),
    "endless bytes": lambda v: v.manifest(_directory("/d", [], bytes=2**62)),
    "bytes into the next line": lambda v: v.manifest(_directory("/d", [], bytes=5)),
    "another count": lambda v: v.manifest(_directory("/d", []), dirs=2),
    "something behind the end": lambda v: v.manifest(_directory("/d", [])) + b"x",
    "two ends": lambda v: v.manifest(_directory("/d", [])) * 2,
    "no end": lambda v: v.manifest(_directory("/d", [])).rpartition(b'{"end"')[0],
    "no line feed": lambda v: v.manifest(_directory("/d", []))[:-1],
    "nothing": lambda _: b"",
    "no manifest": lambda _: b"hello\n",
    "a newer version": lambda v: v.manifest(head=b'{"manifest":2,"member_bytes":4194304}\n'),
    "no member size": lambda v: v.manifest(head=b'{"manifest":1,"member_bytes":0}\n'),
    "negative members": lambda v: v.manifest(head=b'{"manifest":1,"member_bytes":-4194304}\n'),
    "huge members": lambda v: v.manifest(head=b'{"manifest":1,"member_bytes":1099511627776}\n'),
    "deep nesting": lambda v: v.manifest(_deep()),
    "a continuation of nothing": lambda v: v.manifest(b'{"more":"/d"}\n', dirs=0),
    "a continuation of another": lambda v: v.manifest(_directory("/d", []), b'{"more":"/e"}\n'),
    "binary": lambda v: v.manifest(b"\xff\xfe\0\n"),
}


@pytest.mark.parametrize("shape", BAD_SHAPES.values(), ids=BAD_SHAPES)
def test_a_manifest_that_cannot_be_is_refused(villain, bench, cell, shape):
    snapshot = villain.publish(shape(villain))
    with pytest.raises(DamagedRepository):
        _restore(bench, snapshot, cell)
    with pytest.raises(DamagedRepository):
        list(bench.repository.nodes(snapshot))
    report = bench.repository.check(read_data=True)
    assert [each.object_name for each in report.findings] == ["manifests/evil.jsonl.gz"]


@pytest.mark.parametrize(
    "archive",
    [
        {"name": "backapp.json"},
        {"name": "../../etc/passwd"},
        {"name": "archives/other.tar.gz"},
        {"archive": 1},
        {"members": []},
        {"members": [-5]},
        {"members": [10**18]},
        {"members": [30, 30]},
        {"members": [2**63]},
        {"members": [2**70]},
    ],
)
def test_a_manifest_that_speaks_of_other_archives_is_refused(villain, bench, cell, archive):
    villain.archive |= archive
    snapshot = villain.publish(villain.manifest(_directory("/d", [_entry()])))
    with pytest.raises(DamagedRepository):
        _restore(bench, snapshot, cell)


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest": layout.StoredObject("../up", 1, "0" * 64)},
        {"manifest": layout.StoredObject("backapp.json", 1, "0" * 64)},
        {"archives": (layout.ArchiveRef("manifests/../../up", 1, "0" * 64, 0),)},
        {"archives": (layout.ArchiveRef("archives/x\0", 1, "0" * 64, 0),)},
        {"archives": (layout.ArchiveRef("archives/x", -1, "0" * 64, 0),)},
        {"archives": (layout.ArchiveRef("archives/x", 1, "0" * 64, -1),)},
        {"taken_at": "naive"},
        {"taken_at": "first"},
    ],
)
def test_a_record_that_cannot_be_is_left_out_and_found_by_check(villain, bench, changes):
    sound = villain.publish(villain.manifest(_directory("/d", [])))
    times = {
        "naive": layout.datetime(2026, 1, 1),  # that is the fault
        "first": layout.datetime.fromisoformat("0001-01-01T00:00:00+23:59"),
    }
    changes = {key: times.get(str(value), value) for key, value in changes.items()}
    assert villain.publish(villain.manifest(_directory("/d", [])), **changes) is None
    assert list(bench.repository.snapshots()) == [sound]
    assert not bench.repository.check().is_clean
    with pytest.raises(DamagedRepository):
        bench.repository.plan_clean_up()


def _peak_of(action: Callable[[], None]) -> int:
    """Run ``action`` in a process of its own and return how much memory it took, in MiB."""
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            action()
        except BaseException as error:  # noqa: BLE001  # the parent sees it by the exit status
            print(repr(error), file=sys.stderr)
            os._exit(255)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os._exit(min(254, grown >> 10))
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status)
    assert os.waitstatus_to_exitcode(status) != 255
    return os.waitstatus_to_exitcode(status)


def _bomb(head: bytes, filling: bytes, total_bytes: int) -> bytes:
    """Return a gzip file that goes on with ``filling`` up to ``total_bytes``."""
    piece = filling * max(1, (4 << 20) // len(filling))
    member = gzip.compress(piece, 9)
    return gzip.compress(head) + member * (total_bytes // len(piece))


BOMBS = {
    "a line without end": (b"", b"x"),
    "a directory without end": (_directory("/d", [], entries=16_000, bytes=2**40), b"x"),
    "entries without end": (
        _directory("/d", [], entries=16_384, bytes=120 << 20),
        b'{"name":"a","type":"file"}\n',
    ),
    "members without end": (
        b"",
        json.dumps(
            {"archive": 0, "name": "archives/evil.tar.gz", "members": [123_456] * 4096}
        ).encode()
        + b"\n",
    ),
    "archives without end": (b"", b'{"archive":0,"name":"archives/evil.tar.gz","members":[99]}\n'),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_manifest_that_unpacks_to_gigabytes_costs_little_memory(villain, bench, cell, bomb):
    head, filling = bomb
    start = villain.manifest(head).rpartition(b'{"end"')[0]
    data = _bomb(start, filling, 4 << 30)
    assert len(data) < 30 << 20
    snapshot = villain.publish(data, is_compressed=True)

    def restore() -> None:
        with pytest.raises(DamagedRepository):
            _restore(bench, snapshot, cell)

    peak = _peak_of(restore)
    print(f"{peak} MiB")
    assert peak <= 256  # newer Pythons take a few MiB more by themselves


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
class TestMembers:
    def test_a_bomb_is_not_unpacked(self, codec):
        packer = zlib.compressobj(9, wbits=-15)
        zeros = bytes(1 << 20)
        body = b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()
        start = gzip.compress(b"")[:10]
        for promised in (0, 1000, MEMBER_BYTES, MEMBER_BYTES + 1, 2**32 - 1):
            bomb = start + body + struct.pack("<II", 0, promised)

            def unpack(bomb=bomb) -> None:
                with pytest.raises(BadMember):
                    decompress_member(codec, bomb, MEMBER_BYTES)

            assert _peak_of(unpack) <= 40

    @given(data=st.data())
    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.differing_executors],
    )
    def test_a_member_is_what_it_was_or_it_is_bad(self, codec, data):
        content = data.draw(st.binary(max_size=300), "content")
        member = gzip.compress(content, mtime=0)
        other = gzip.compress(data.draw(st.binary(max_size=20), "other"))
        cut = data.draw(st.integers(0, len(member)), "cut")
        harmed = data.draw(
            st.one_of(
                st.just(member[:cut]),
                st.just(member[cut:]),
                st.just(member + other),
                st.just(other + member),
                st.just(member + b"\0"),
                st.just(flip_bit(member, cut * 8)),
                st.just(member[:cut] + other + member[cut:]),
                st.binary(max_size=100),
                st.integers(0, 2**32 - 1).map(lambda size: member[:-4] + struct.pack("<I", size)),
            ),
            "harmed",
        )
        try:
            found = decompress_member(codec, harmed, MEMBER_BYTES)
        except BadMember:
            return
        # Only what says nothing of the content may differ: time, system and flags of the header.
        assert found == content or harmed in (other, b"") or gzip.decompress(harmed) == found


@given(flips=st.lists(st.integers(0, 1 << 20), min_size=1, max_size=4), cut=st.integers(0, 2000))
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_manifest_is_read_or_refused(villain, bench, flips, cut):
    manifest = villain.manifest(
        _directory("/d", [_entry(), _link()]), _directory("/d/e", [_entry(xattrs={"user.a": ""})])
    )
    for flip in flips:
        manifest = flip_bit(manifest, flip)
    snapshot = villain.publish(manifest[: len(manifest) - max(0, cut - 1000)])
    try:
        for node in bench.repository.nodes(snapshot):
            if node.kind == "file":
                assert b"".join(bench.repository.read(snapshot, node)) == CONTENT
    except BackappError:
        pass
    bench.repository.check(read_data=True)
