"""Nothing that a snapshot says, and nothing that happens meanwhile, leads outside (S16)."""

import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import EntryNotRestored
from backapp_core.model.entries import EntryKind
from backapp_core.model.restores import Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import HOSTILE_PATHS, make_node

pytestmark = pytest.mark.thorough

F, D, L, P = EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.SYMLINK, EntryKind.FIFO


def fingerprint(top: Path) -> str:
    """All that an escape could change: names, facts, contents."""
    digest = hashlib.sha256()
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        facts = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_nlink)
        digest.update(f"{path.relative_to(top)} {facts} {status.st_ino}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture
def canary(tmp_path):
    top = tmp_path / "canary"
    (top / "inner").mkdir(parents=True)
    (top / "secret").write_text("secret")
    (top / "inner/file").write_text("inner")
    return top


@pytest.fixture
def root(tmp_path, canary):
    """A target that holds every bait that an earlier restore or a neighbour may have left."""
    root = tmp_path / "out"
    root.mkdir()
    (root / "to-dir").symlink_to(canary)
    (root / "to-file").symlink_to(canary / "secret")
    (root / "up").symlink_to("..")
    (root / "to-missing").symlink_to(canary / "missing")
    (root / "chain").symlink_to("up/canary")
    (root / "real").mkdir()
    (root / "real/deep").symlink_to(canary / "inner")
    return root


def feed(target: FolderTarget, nodes) -> None:
    """Hand over nodes as an archiver would; names of other files say whose in ``target``."""
    for node in nodes:
        if node.kind is D:
            target.directory(node)
        elif node.kind is F and node.links == 1:
            feed_file(target, node)
    target.links_follow()
    for node in nodes:
        if node.links > 1:
            target.link(node, node.target)
        elif node.kind not in {F, D}:
            target.special(node)
    target.close()


def feed_file(target: FolderTarget, node) -> None:
    file = target.file(node)
    if file is None:
        return
    with suppress(EntryNotRestored), file:
        file.write_at(0, b"evil")
        file.finish()


def evil(path: bytes, kind=F, **facts):
    return make_node(path, kind, **({"size_bytes": 4, "mode": 0o777, "mtime_ns": 666} | facts))


HOSTILE = [evil(path, kind, target=b"..") for path in HOSTILE_PATHS for kind in (F, D, L, P)]
CORPUS = {
    "file through link": [evil(b"/to-dir/new"), evil(b"/up/canary/new")],
    "file over a file behind a link": [evil(b"/to-dir/secret"), evil(b"/chain/inner/file")],
    "file in the place of a link": [evil(b"/to-file"), evil(b"/to-missing")],
    "directory in the place of a link": [evil(b"/to-dir", D), evil(b"/to-dir/secret")],
    "directory through link": [evil(b"/to-dir/inner", D), evil(b"/real/deep/d", D)],
    "deeper link": [evil(b"/real", D), evil(b"/real/deep", D), evil(b"/real/deep/file")],
    "link, then below it": [
        evil(b"/new", L, target=b"../canary"),
        evil(b"/new/secret"),
        evil(b"/new/inner", D),
        evil(b"/new/inner/file"),
    ],
    "links of the snapshot, twice": [
        evil(b"/a", L, target=b".."),
        evil(b"/a/canary/s", L, target=b"x"),
        evil(b"/a/canary/secret", P),
    ],
    "hard link to outside": [
        evil(b"/h1", links=2, target=b"/../canary/secret"),
        evil(b"/h2", links=2, target=b"/up/canary/secret"),
        evil(b"/h3", links=2, target=b"/to-dir/secret"),
        evil(b"/h4", links=2, target=b"/to-file"),
        evil(b"/h5", links=2, target=b"../canary/secret"),
    ],
    "hard link from outside": [
        evil(b"/real/f"),
        evil(b"/to-dir/h", links=2, target=b"/real/f"),
        evil(b"/to-file", links=2, target=b"/real/f"),
    ],
    "hard link to a link, then written": [
        evil(b"/h", L, links=2, target=b"/to-file"),
        evil(b"/h"),
    ],
    "special files through links": [
        evil(b"/to-dir/fifo", P),
        evil(b"/to-dir/link", L, target=b"x"),
        evil(b"/to-dir/secret", L, target=b"x"),
        evil(b"/to-dir/socket", EntryKind.SOCKET),
        evil(b"/to-file", EntryKind.CHAR_DEVICE, rdev=0x103),
    ],
    "device, then written": [
        evil(b"/real/dev", EntryKind.BLOCK_DEVICE, rdev=0x700),
        evil(b"/real/dev"),
    ],
    "back slashes are names": [evil(b"/..\\..\\canary\\secret"), evil(b"/\\\\host\\share")],
    "long detour": [
        evil(b"/" + b"/".join([b"x" * 200] * 30) + b"/" + b"../" * 31 + b"canary/secret"),
        evil(b"/real" + b"/." * 3000 + b"/../../canary/secret"),
    ],
    "spaces and dots": [evil(b"/.. /canary"), evil(b"/..."), evil(b"/ ../canary/secret")],
    "hostile paths": HOSTILE,
    "metadata of the canary": [
        evil(b"/to-dir", D, uid=666, xattrs=((b"user.evil", b"1"),)),
        evil(b"/to-file", uid=666),
        evil(b"/real/deep", L, target=b"x", uid=666),
    ],
}


@pytest.mark.parametrize("overwrite", Overwrite)
@pytest.mark.parametrize("case", CORPUS)
def test_canary_outside_stays_as_it_is(root, canary, tmp_path, case, overwrite):
    before = fingerprint(canary)
    beside = sorted(os.listdir(tmp_path))
    options = ExtractOptions(overwrite=overwrite)
    feed(FolderTarget(os.fsencode(root), options, Surroundings(root, root)), CORPUS[case])
    assert fingerprint(canary) == before
    assert sorted(os.listdir(tmp_path)) == beside
    assert not list(root.rglob(".backapp-*"))


SWAPPER = """
import os, sys
root, canary, trash = sys.argv[1:]
print("ready", flush=True)
serial = 0
while True:
    for number in range(8):
        path = os.path.join(root, "d%d" % number)
        serial += 1
        away = os.path.join(trash, str(serial))
        try:
            os.rename(path, away)
            os.symlink(canary, path)
        except OSError:
            continue
        try:
            os.unlink(path)
            os.rename(away, path)
        except OSError:
            pass
"""


@pytest.mark.parametrize("overwrite", [Overwrite.ALWAYS, Overwrite.IF_CHANGED])
def test_directories_swapped_for_links_meanwhile_lead_nowhere(tmp_path, canary, overwrite):
    root, trash = tmp_path / "out", tmp_path / "trash"
    root.mkdir()
    trash.mkdir()
    before = fingerprint(canary)
    swapper = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, root, canary, trash], stdout=subprocess.PIPE
    )
    try:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        swaps_seen = rounds = 0
        while swaps_seen < 400 and rounds < 3000:
            rounds += 1
            options = ExtractOptions(overwrite=overwrite)
            target = FolderTarget(os.fsencode(root), options, Surroundings(root, root))
            nodes = []
            for name in (b"/d%d" % number for number in range(8)):
                nodes += [evil(name, D), evil(name + b"/secret"), evil(name + b"/sub", D)]
                nodes += [evil(name + b"/sub/file"), evil(name + b"/sub/link", L, target=b"x")]
            feed(target, nodes)
            swaps_seen += target.outcome.problems
        assert swapper.poll() is None
    finally:
        swapper.kill()
        swapper.wait()
        if swapper.stdout is not None:
            swapper.stdout.close()
    assert fingerprint(canary) == before
    assert swaps_seen >= 400, "hardly a swap was met; the test has shown nothing"
