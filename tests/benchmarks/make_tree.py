"""Makes the trees that benchmarks run on, of real bytes of this machine in sizes as at home.

    python tests/benchmarks/make_tree.py /tmp/tree --files 100000 --bytes 2e9
    python tests/benchmarks/make_tree.py /tmp/tree --files 100000 --bytes 2e9 --copy

The same arguments on the same machine give the same tree. Directories always have the same width
(11 files and up to 4 directories each), so a tree of twice the files is deeper and not wider.
With --copy the files of this machine are copied as they are, with their folders, links and times.
"""

import argparse
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

FILES_PER_DIRECTORY = 11
DIRECTORIES_PER_DIRECTORY = 4
_CORPUS_FOLDERS = ("/usr/share", "/usr/lib", "/usr/bin")
_CORPUS_BYTES = 300 << 20
_PYTHON = Path(sys.base_prefix)
_COPIED = (
    # Of all files, which share comes from where: documents and data, source text with its bytecode
    # (of all Pythons that stand side by side), machine code.
    (Path("/usr/share"), 0.47),
    (_PYTHON.parent if _PYTHON.parent.name == "versions" else _PYTHON / "lib", 0.45),
    (Path("/usr/lib"), 0.08),
)


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


def copy_tree(top: Path, *, files: int, total_bytes: int) -> None:
    """Copy ``files`` files of at most ``total_bytes`` bytes together, evenly from all folders.

    What does not fit into what is left is passed over, and other files stand in for it.
    """
    top.mkdir(parents=True)
    room = total_bytes
    for source, share in _COPIED:
        left = round(files * share)
        for path in _evenly(sorted(_files_below(source)), left):
            size = 0 if path.is_symlink() else path.stat().st_size
            if left and size <= room:
                _copy_folder(path.parent, top / path.parent.relative_to("/"))
                shutil.copy2(path, top / path.relative_to("/"), follow_symlinks=False)
                left, room = left - (not path.is_symlink()), room - size
        if left:
            sys.exit(f"{source} has {left} files too few; ask for fewer, or leave out --copy")


def _evenly(paths: list[Path], wanted: int) -> Iterator[Path]:
    """Yield all paths, first such a part of them as is wanted, from the first to the last."""
    step = max(1, len(paths) // max(1, wanted))
    for start in range(step):
        yield from paths[start::step]


def _files_below(source: Path) -> Iterator[Path]:
    for top, _, names in os.walk(source):
        for name in names:
            path = Path(top, name)
            if path.is_symlink() or path.is_file():
                yield path


def _copy_folder(folder: Path, target: Path) -> None:
    if not target.exists():
        _copy_folder(folder.parent, target.parent)
        target.mkdir()
        shutil.copystat(folder, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("top", type=Path)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--bytes", type=float, default=2e9)
    parser.add_argument("--copy", action="store_true", help="copy this machine's own files")
    chosen = parser.parse_args()
    make = copy_tree if chosen.copy else make_tree
    make(chosen.top, files=chosen.files, total_bytes=int(chosen.bytes))
