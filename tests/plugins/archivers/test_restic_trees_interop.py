"""What restic makes of a hostile tree is made here byte by byte, and restic reads what is added."""

import grp
import hashlib
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.model.entries import Entry, EntryKind, Node
from backapp_core.model.snapshots import Counts, Snapshot
from backapp_core.testing.hostile_tree import hostile_tree
from backapp_core.testing.trees import Item
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.node_writer import NodeWriter
from backapp_plugins.archivers.restic.format.nodes import node_of
from backapp_plugins.archivers.restic.format.packs import (
    PackEntry,
    decode_header,
    decode_trailer,
    encode_header,
    encode_trailer,
)
from backapp_plugins.archivers.restic.format.snapshots import (
    SnapshotRecord,
    Totals,
    decode_snapshot,
    encode_snapshot,
    retagged,
)
from backapp_plugins.archivers.restic.format.trees import (
    TreeNode,
    decode_tree,
    encode_node,
    join_nodes,
)
from backapp_plugins.archivers.restic.format.unpacked import open_document, seal_document

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not shutil.which("restic"), reason="needs restic"),
]
if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("owners and devices need root", allow_module_level=True)

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns")
LARGEST_BLOB_BYTES = 512 << 10
"""A file of fewer bytes is one blob, whatever the polynomial."""
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOST_BY_RESTIC = {
    b"attributes/of a link",
    b"links/not utf-8",
    b"special/hard fifo",
    b"special/hard fifo too",
    b"special/socket",
}


class Restic:
    """A repository that restic made, with its master key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self._environment = {
            "PATH": os.environ["PATH"],
            "RESTIC_REPOSITORY": str(self.folder),
            "RESTIC_PASSWORD": "secret",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }
        self.run("init")
        key = json.loads(self.run("cat", "masterkey"))
        self.codec = BlobCodec(
            MasterKey(
                encrypt=b64decode(key["encrypt"]),
                mac_k=b64decode(key["mac"]["k"]),
                mac_r=b64decode(key["mac"]["r"]),
            ),
            os.urandom,
        )

    def run(self, *command: str | Path, zone: str = "UTC", cwd: Path | None = None) -> bytes:
        done = subprocess.run(
            ("restic", "--quiet", *command),
            env=self._environment | {"TZ": zone},
            cwd=cwd,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def back_up(self, source: Path, zone: str) -> SnapshotRecord:
        before = set(self.snapshots())
        self.run("backup", "--force", source.name, zone=zone, cwd=source.parent)
        (new,) = set(self.snapshots()) - before
        return self.snapshot(new)

    def snapshots(self) -> list[bytes]:
        return [bytes.fromhex(path.name) for path in (self.folder / "snapshots").iterdir()]

    def snapshot(self, snapshot_id: bytes) -> SnapshotRecord:
        sealed = (self.folder / "snapshots" / snapshot_id.hex()).read_bytes()
        return decode_snapshot(open_document(self.codec, sealed), snapshot_id)

    def blobs(self) -> dict[bytes, bytes]:
        """Return the content of every blob by its id."""
        return {
            entry.blob_id: self.codec.decode(
                raw[entry.offset : entry.offset + entry.length], entry.uncompressed, entry.blob_id
            )
            for path in (self.folder / "data").glob("*/*")
            for raw in [path.read_bytes()]
            for entry in self._entries(raw)
        }

    def add_document(self, folder: str, document: bytes) -> bytes:
        sealed = seal_document(self.codec, document, version=2)
        (self.folder / folder / id_of(sealed).hex()).write_bytes(sealed)
        return id_of(sealed)

    def add_tree(self, tree: bytes) -> bytes:
        """Store a tree in a pack and an index of its own."""
        tree_id = id_of(tree)
        sealed = self.codec.encode(tree, tree_id)
        entry = PackEntry(BlobKind.TREE, tree_id, 0, len(sealed), len(tree))
        header = self.codec.sealer.seal(encode_header([entry]))
        pack = sealed + header + encode_trailer(header)
        (self.folder / pack_name(id_of(pack))).write_bytes(pack)
        blob = {
            "id": tree_id.hex(),
            "type": "tree",
            "offset": 0,
            "length": len(sealed),
            "uncompressed_length": len(tree),
        }
        packs = [{"id": id_of(pack).hex(), "blobs": [blob]}]
        self.add_document("index", json.dumps({"packs": packs}).encode())
        return tree_id

    def _entries(self, pack: bytes) -> list[PackEntry]:
        length = decode_trailer(pack[-4:], len(pack))
        return decode_header(self.codec.sealer.open(pack[-4 - length : -4]))


@pytest.fixture(scope="module")
def restic(tmp_path_factory: pytest.TempPathFactory) -> Restic:
    return Restic(tmp_path_factory.mktemp("restic"))


def _is_kept(path: bytes, item: Item) -> bool:
    # restic can neither open paths of more than 4,096 bytes, nor skip the holes of a terabyte.
    return (
        path not in LOST_BY_RESTIC
        and not path.startswith(b"deep")
        and (item.size_bytes or 0) < 1 << 30
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("hostile") / "source"
    hostile_tree().only(_is_kept).write(top)
    return top


def _entry(path: bytes, name: bytes) -> Entry:
    facts = os.lstat(path)
    return Entry(
        name=name,
        mode=facts.st_mode,
        uid=facts.st_uid,
        gid=facts.st_gid,
        size_bytes=facts.st_size if stat.S_ISREG(facts.st_mode) else 0,
        mtime_ns=facts.st_mtime_ns,
        ctime_ns=facts.st_ctime_ns,
        inode=facts.st_ino,
        device=facts.st_dev,
        links=facts.st_nlink,
        rdev=facts.st_rdev,
        allocated_bytes=0,
    )


def _owner(entry: Entry) -> dict[str, str]:
    users = {each.pw_uid: each.pw_name for each in pwd.getpwall()}
    groups = {each.gr_gid: each.gr_name for each in grp.getgrall()}
    return {"user": users.get(entry.uid, ""), "group": groups.get(entry.gid, "")}


def _xattrs(path: bytes) -> list[tuple[bytes, bytes]]:
    """Return the attributes in the order in which the file system lists them, as restic does."""
    return [
        (os.fsencode(name), os.getxattr(path, name, follow_symlinks=False))
        for name in os.listxattr(path, follow_symlinks=False)
    ]


class Rebuilder:
    """Makes the trees of a folder on disk with the time zone of the process."""

    def __init__(self, blobs: Mapping[bytes, bytes]) -> None:
        self._blobs = blobs
        self._writer = NodeWriter()
        self.trees: dict[bytes, bytes] = {}

    def tree(self, folder: bytes, names: list[bytes], old_tree: bytes) -> bytes:
        """Return the id of the tree of ``names`` in ``folder``, which restic calls ``old_tree``."""
        old_nodes = {node.raw_name: node for node in decode_tree(self._blobs[old_tree])}
        assert set(old_nodes) == set(names)
        tree = join_nodes(
            self._node(folder + b"/" + name, name, old_nodes[name]) for name in sorted(names)
        )
        self.trees[id_of(tree)] = tree
        return id_of(tree)

    def _node(self, path: bytes, name: bytes, old: TreeNode) -> bytes:
        entry = _entry(path, name)
        owner, xattrs = _owner(entry), _xattrs(path)
        if entry.kind is EntryKind.DIRECTORY:
            subtree = self.tree(path, os.listdir(path), old.subtree_id())
            return self._writer.directory(entry, **owner, subtree=subtree, xattrs=xattrs)
        if entry.kind is EntryKind.FILE:
            content = self._content(path, entry, old)
            return self._writer.file(
                entry, **owner, content=content, size_bytes=entry.size_bytes, xattrs=xattrs
            )
        target = os.readlink(path) if entry.kind is EntryKind.SYMLINK else b""
        return self._writer.other(entry, **owner, target=target, xattrs=xattrs)

    def _content(self, path: bytes, entry: Entry, old: TreeNode) -> list[bytes]:
        """Return the ids of the blobs; where a long file is cut is for tests of chunkers."""
        data = Path(os.fsdecode(path)).read_bytes()
        if entry.size_bytes > LARGEST_BLOB_BYTES:
            assert b"".join(self._blobs[blob_id] for blob_id in old.content_ids()) == data
            return old.content_ids()
        return [hashlib.sha256(data).digest()] if data else []


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def stored(restic: Restic, source: Path) -> Mapping[str, SnapshotRecord]:
    """Return what restic backed up in each zone."""
    return {zone: restic.back_up(source, zone) for zone in ZONES}


@pytest.fixture(scope="module")
def blobs(restic: Restic, stored: Mapping[str, SnapshotRecord]) -> dict[bytes, bytes]:
    return restic.blobs()


def test_every_tree_is_the_one_that_restic_made(source, stored, blobs, zone):
    rebuilder = Rebuilder(blobs)
    root = rebuilder.tree(os.fsencode(source.parent), [b"source"], stored[zone].tree)
    assert len(rebuilder.trees) > 50
    different = [tree for tree_id, tree in rebuilder.trees.items() if tree_id not in blobs]
    assert different == []
    assert root == stored[zone].tree


def test_every_node_of_restic_is_written_anew_as_it_was(stored, blobs):
    trees = [data for data in blobs.values() if data.startswith(b'{"nodes":')]
    assert len(trees) > 100
    for tree in trees:
        assert join_nodes(map(encode_node, decode_tree(tree))) == tree


def _nodes(blobs: Mapping[bytes, bytes], tree: bytes, folder: bytes) -> Iterator[Node]:
    for node in decode_tree(blobs[tree]):
        path = folder + b"/" + node.raw_name
        yield node_of(path, node)
        if node.subtree is not None:
            yield from _nodes(blobs, node.subtree_id(), path)


def test_every_node_of_restic_tells_what_stands_on_disk(source, stored, blobs, zone):
    parent = os.fsencode(source.parent)
    for node in _nodes(blobs, stored[zone].tree, b""):
        path = parent + node.path
        entry = _entry(path, node.name)
        assert (node.kind, node.mode) == (entry.kind, stat.S_IMODE(entry.mode))
        assert (node.mtime_ns, node.ctime_ns) == (entry.mtime_ns, entry.ctime_ns)
        assert (node.uid, node.gid, node.rdev) == (entry.uid, entry.gid, entry.rdev)
        assert (node.inode, node.device) == (entry.inode, entry.device)
        assert node.size_bytes == entry.size_bytes
        assert node.xattrs == tuple(sorted(_xattrs(path)))
        if node.kind is EntryKind.SYMLINK:
            assert node.target == os.readlink(path)


def test_restic_works_with_snapshots_that_tell_more(restic, source, stored):
    tree = stored["UTC"].tree
    snapshot = Snapshot(
        id="",
        taken_at=NOW,
        hostname="<elsewhere>",
        username="somebody",
        roots=(b"/not utf-8 \xff", os.fsencode(source)),
        tags=("one", "two"),
        program="BackApp",
        counts=Counts(files_new=3, directories=2, others=5, problems=1, processed_bytes=7),
    )
    totals = Totals(started_at=NOW, ended_at=NOW, folders_new=2)
    snapshot_id = restic.add_document(
        "snapshots", encode_snapshot(snapshot, tree, totals, uid=12, gid=13)
    )
    assert restic.snapshot(snapshot_id).snapshot == evolve(snapshot, id=snapshot_id.hex())
    (listed,) = json.loads(restic.run("snapshots", "--json", snapshot_id.hex()))
    assert datetime.fromisoformat(listed["time"]) == NOW
    assert listed["hostname"] == "<elsewhere>"
    assert listed["paths"] == ["/not utf-8 \ufffd", str(source)]
    assert (listed["tags"], listed["uid"], listed["gid"]) == (["one", "two"], 12, 13)
    assert b"source/names/upper" in restic.run("ls", snapshot_id.hex())
    restic.run("check")

    retagged_id = restic.add_document(
        "snapshots", retagged(restic.snapshot(snapshot_id), ["three"])
    )
    before = set(restic.snapshots())
    restic.run("tag", "--add", "four", retagged_id.hex())
    (rewritten,) = set(restic.snapshots()) - before
    back = restic.snapshot(rewritten).snapshot
    assert back.tags == ("four", "three")
    assert back.original_id == snapshot_id.hex()
    assert back.roots == ("/not utf-8 \ufffd".encode(), os.fsencode(source))


def test_restic_reads_nodes_that_tell_more(restic, tmp_path):
    writer = NodeWriter()
    names = {b"fifo": stat.S_IFIFO, b"link": stat.S_IFLNK, b"socket": stat.S_IFSOCK}
    owner = {"user": "", "group": ""}
    entries = {
        name: Entry(name, kind | 0o644, 0, 0, 0, 5, 6, 7, 8, 2, 0, 0)
        for name, kind in names.items()
    }
    tree = restic.add_tree(
        join_nodes(
            [
                writer.other(entries[b"fifo"], **owner),
                writer.other(
                    entries[b"link"], **owner, target=b"\xff", xattrs=[(b"trusted.a", b"b")]
                ),
                writer.other(entries[b"socket"], **owner),
            ]
        )
    )
    snapshot = Snapshot(id="", taken_at=NOW, hostname="h", username="u", roots=(b"/",))
    totals = Totals(started_at=NOW, ended_at=NOW)
    snapshot_id = restic.add_document("snapshots", encode_snapshot(snapshot, tree, totals))
    restic.run("check", "--read-data")
    restic.run("restore", snapshot_id.hex(), "--target", tmp_path)
    assert stat.S_ISFIFO((tmp_path / "fifo").lstat().st_mode)
    assert (tmp_path / "link").is_symlink()  # attributes of links are passed over
