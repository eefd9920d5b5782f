"""Makes the trees that benchmarks run on, of real bytes of this machine in sizes as at home.

    python tests/benchmarks/make_tree.py /tmp/tree --files 100000 --bytes 2e9

The same arguments on the same machine give the same tree. Directories always have the same width
(11 files and up to 4 directories each), so a tree of twice the files is deeper and not wider.
"""

import argparse
import os
import random
from pathlib import Path

FILES_PER_DIRECTORY = 11
DIRECTORIES_PER_DIRECTORY = 4
_CORPUS_FOLDERS = ("/usr/share", "/usr/lib", "/usr/bin")
_CORPUS_BYTES = 300 << 20


def corpus(limit_bytes: int = _CORPUS_BYTES) -> bytes:
    """Return content of this machine's files, a share of every folder, in a fixed order."""
    parts: list[bytes] = []
    for folder in _CORPUS_FOLDERS:
        size = 0
        for top, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = Path(top, name)
                if path.is_file() and not path.is_symlink():
                    parts.append(path.read_bytes()[: 4 << 20])
                    size += len(parts[-1])
            if size > limit_bytes // len(_CORPUS_FOLDERS):
                break
    return b"".join(parts)


def sizes(files: int, total_bytes: int, seed: int) -> list[int]:
    """Return file sizes: log-normal, most of them small, the sum very near ``total_bytes``."""
    chance = random.Random(seed)
    raw = [min(chance.lognormvariate(8.3, 2.0), 5e7) for _ in range(files)]
    scale = total_bytes / sum(raw)
    return [int(size * scale) for size in raw]


def make_tree(top: Path, *, files: int, total_bytes: int, seed: int = 7) -> None:
    """Write ``files`` files of ``total_bytes`` bytes together below ``top``."""
    content = corpus()
    chance = random.Random(seed)
    folders = [top]
    top.mkdir(parents=True)
    made = 0
    position = 0
    wanted = sizes(files, total_bytes, seed)
    while made < files:
        folder = folders[position]
        position += 1
        for number in range(DIRECTORIES_PER_DIRECTORY):
            if len(folders) * FILES_PER_DIRECTORY < files:
                folders.append(folder / f"folder-{number}")
                folders[-1].mkdir()
        for number in range(min(FILES_PER_DIRECTORY, files - made)):
            size = wanted[made]
            start = chance.randrange(max(1, len(content) - size))
            with open(folder / f"file-{made:07d}-{number}.dat", "wb") as file:
                file.write(content[start : start + size])
                if size > len(content):
                    file.write(content[: size - len(content)])
            made += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("top", type=Path)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--bytes", type=float, default=2e9)
    chosen = parser.parse_args()
    make_tree(chosen.top, files=chosen.files, total_bytes=int(chosen.bytes))
