"""Five million blobs open in seconds and stay in little memory."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

_FILES = 100
_BLOBS = _FILES * 50_000
_MOST_MEGABYTES = 600

_MAKE = """
import random, sys
from hashlib import sha256
from pathlib import Path
import zstandard
from backapp_plugins.archivers.restic.index.files import encode_index
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.packs import PackEntry

folder, chance = Path(sys.argv[1]), random.Random(1)
for file in range(int(sys.argv[2])):
    packs = []
    for pack in range(2500):
        kind = BlobKind(pack % 25 == 0)
        ids = [chance.randbytes(32) for _ in range(20)]
        entries = [PackEntry(kind, one, 900_000 * at, 900_000, 2**20) for at, one in enumerate(ids)]
        packs.append((chance.randbytes(32), entries))
    document = encode_index(packs)
    packed = zstandard.ZstdCompressor(level=1).compress(document)
    (folder / sha256(document).hexdigest()).write_bytes(packed)
"""

_LOAD = """
import random, sys, time
from pathlib import Path
import zstandard
from backapp_plugins.archivers.restic.index.cache import load_index
from backapp_plugins.archivers.restic.format.layout import BlobKind

folder, cache = map(Path, sys.argv[1:3])
listed = [(bytes.fromhex(path.name), path.stat().st_size) for path in folder.iterdir()]
read = lambda one: zstandard.ZstdDecompressor().decompress((folder / one.hex()).read_bytes())
begun = time.perf_counter()
index = load_index(listed, read, cache)
loaded = time.perf_counter() - begun
chance = random.Random(2)
unknown = [chance.randbytes(32) for _ in range(100_000)]
begun = time.perf_counter()
assert not any(index.has(BlobKind.DATA, one) for one in unknown)
absent = time.perf_counter() - begun
status = Path("/proc/self/status").read_text()
peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
assert not (index.table().rows_of(BlobKind.TREE, unknown) >= 0).any()
print(f"{len(index.table())} blobs in {loaded:.2f} s, {absent * 10:.2f} us each, {peak} MB")
"""


def _run(program: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        check=True,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_million_blobs_open_in_little_memory(tmp_path: Path):
    folder, cache = tmp_path / "index", tmp_path / "cache"
    folder.mkdir()
    _run(_MAKE, folder, _FILES)
    for state in ("read from the repository", "kept"):
        said = _run(_LOAD, folder, cache)
        print(f"\n{state}: {said}", end="")
        assert int(said.split()[0]) == _BLOBS
        megabytes = re.search(r"(\d+) MB", said)
        assert megabytes is not None
        assert int(megabytes[1]) < _MOST_MEGABYTES
