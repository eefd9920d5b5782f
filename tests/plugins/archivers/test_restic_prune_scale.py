"""A prune of millions of blobs takes minutes at most, and bytes per blob."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.fakes import FrozenClock
from backapp_plugins.archivers.restic.access.keys import OpenedKey
from backapp_plugins.archivers.restic.format.config import Config
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.files import encode_indexes
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.writing.packing import PackWriter
from backapp_plugins.transports.folder import FolderSettings, open_folder

pytestmark = pytest.mark.slow

WIDTH = 450
"""Directories at the top, and in each of them."""
FILES = 10
"""In each of the lower directories."""
BLOBS_PER_PACK = 500
BLOB_BYTES = 30_032

MEASURED = """
import json, sys, time
from pathlib import Path
from backapp_core.plugin_api import CleanUpOptions, ObjectInfo, ObjectMissing, Surroundings
from backapp_plugins.archivers.restic.format.config import Config
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.access.keys import OpenedKey
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.pruning import Pruner
from backapp_plugins.transports.folder import FolderSettings, open_folder

folder, sizes = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
surroundings = Surroundings(folder / "cache", folder / "state")
transport = open_folder(FolderSettings(folder / "repository"), surroundings)
listed = transport.list

def list_more(prefix=""):
    yield from listed(prefix)
    if prefix == "data/":
        for name, size in sizes.items():
            yield ObjectInfo(name, size)

transport.list = list_more
key = OpenedKey(b"k" * 32, MasterKey(b"e" * 32, b"k" * 16, b"r" * 16))
place = Place(transport, Config(2, "0" * 64, 0x3DA3358B4DC173), key, surroundings)
begun = time.monotonic()
plan = Pruner(place).plan(CleanUpOptions(max_unused_share=1.0))
taken = time.monotonic() - begun
status = Path("/proc/self/status").read_text()  # what a parent took does not count here
peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
print(json.dumps([taken, peak, len([one for one, _ in plan.objects if one in sizes])]))
"""


def fill(folder: Path) -> tuple[dict[str, int], int, int]:
    """Make a repository whose packs of content are only claimed to be there.

    Returns:
        Names and sizes of these packs, how many of them nothing needs, and the count of all blobs.
    """
    surroundings = Surroundings(folder / "cache", folder / "state", clock=FrozenClock())
    transport = open_folder(FolderSettings(folder / "repository"), surroundings)
    transport.prepare()
    key = OpenedKey(b"k" * 32, MasterKey(b"e" * 32, b"k" * 16, b"r" * 16))
    place = Place(transport, Config(2, "0" * 64, 0x3DA3358B4DC173), key, surroundings)
    blob_ids: list[bytes] = []
    with PackWriter(place) as writer:

        def save(nodes: list[str]) -> str:
            tree = f'{{"nodes":[{",".join(nodes)}]}}\n'.encode()
            tree_id = sha256(tree).digest()
            writer.add(BlobKind.TREE, tree_id, place.codec.encode(tree, tree_id), len(tree))
            return tree_id.hex()

        top = [folder_node(save(middle(save, blob_ids))) for _ in range(WIDTH)]
        root = save([one.replace("NAME", str(at)) for at, one in enumerate(top)])
        writer.finish()
    snapshot = json.dumps({"time": "2026-01-01T00:00:00Z", "tree": root, "paths": ["/"]})
    place.write_document("snapshots/", snapshot.encode())
    useless = [os.urandom(32) for _ in range(len(blob_ids) // 50)]
    everything = [*blob_ids, *useless]
    packs = [
        (os.urandom(32), entries(everything[at : at + BLOBS_PER_PACK]))
        for at in range(0, len(everything), BLOBS_PER_PACK)
    ]
    for document in encode_indexes(packs):
        place.write_document("index/", document)
    sizes = {
        f"data/{one.hex()[:2]}/{one.hex()}": 36 + len(blobs) * (BLOB_BYTES + 41)
        for one, blobs in packs
    }
    doomed = len(packs) - -(-len(blob_ids) // BLOBS_PER_PACK)
    return sizes, doomed, len(everything) + WIDTH**2 + WIDTH


def middle(save, blob_ids: list[bytes]) -> list[str]:
    made = []
    for at in range(WIDTH):
        files = []
        for number in range(FILES):
            content = [os.urandom(32) for _ in range(2 + (number % 5 < 2))]
            blob_ids += content
            listed = ",".join(f'"{one.hex()}"' for one in content)
            files.append(
                f'{{"name":"a file with number {number}","type":"file","mode":420,'
                '"mtime":"2025-03-04T05:06:07.123456789+01:00",'
                '"atime":"2025-03-04T05:06:07.123456789+01:00",'
                '"ctime":"2025-03-04T05:06:07.123456789+01:00","uid":1000,"gid":1000,'
                '"user":"somebody","group":"somebody","inode":12345678,"device_id":65024,'
                f'"size":61234,"links":1,"content":[{listed}]}}'
            )
        made.append(folder_node(save(files)).replace("NAME", str(at)))
    return made


def folder_node(tree: str) -> str:
    return (
        '{"name":"NAME","type":"dir","mode":2147484141,'
        '"mtime":"2025-03-04T05:06:07.123456789+01:00",'
        '"atime":"2025-03-04T05:06:07.123456789+01:00",'
        '"ctime":"2025-03-04T05:06:07.123456789+01:00","uid":1000,"gid":1000,'
        '"user":"somebody","group":"somebody","inode":12345678,"device_id":65024,'
        f'"content":null,"subtree":"{tree}"}}'
    )


def entries(blob_ids: list[bytes]) -> list[PackEntry]:
    return [
        PackEntry(BlobKind.DATA, one, at * BLOB_BYTES, BLOB_BYTES, 60_000)
        for at, one in enumerate(blob_ids)
    ]


@pytest.mark.timeout(3600)
def test_five_million_blobs_and_two_million_files_are_planned_in_little_memory(quick_folder):
    sizes, useless, blobs = fill(quick_folder)
    assert blobs > 5_000_000
    (quick_folder / "sizes.json").write_text(json.dumps(sizes))
    command = [sys.executable, "-c", MEASURED, quick_folder, quick_folder / "sizes.json"]
    for what in ("cold", "with what is kept of the index"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        seconds, peak_megabytes, doomed = json.loads(done.stdout)
        print(f"{blobs:,} blobs, {what}: {seconds:.1f} s, {peak_megabytes} MB")
        assert doomed == useless
        assert peak_megabytes <= 600
