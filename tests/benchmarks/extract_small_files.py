"""What one small file costs the extractor: 100,000 files of 20,000 bytes onto a tmpfs.

    python tests/benchmarks/extract_small_files.py [--profile]

Beside it stands the floor: the same system calls in a bare loop. Content comes from memory, so that
nothing but the extractor is measured.
"""

import argparse
import cProfile
import os
import shutil
import tempfile
import time
from pathlib import Path

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.model.entries import EntryKind, Node
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import make_node

FOLDERS, FILES, SIZE_BYTES = 1000, 100, 20_000
CONTENT = os.urandom(SIZE_BYTES)


def make_nodes() -> list[Node]:
    nodes: list[Node] = []
    for folder in range(FOLDERS):
        nodes.append(make_node(b"/d%d" % folder, EntryKind.DIRECTORY))
        nodes += [
            make_node(b"/d%d/f%d" % (folder, number), size_bytes=SIZE_BYTES)
            for number in range(FILES)
        ]
    return nodes


def extract(nodes: list[Node], root: Path) -> None:
    target = FolderTarget(os.fsencode(root), ExtractOptions(), Surroundings(root, root))
    for node in nodes:
        if node.kind is EntryKind.DIRECTORY:
            target.directory(node)
        elif (file := target.file(node)) is not None:
            with file:
                file.write_at(0, CONTENT)
                file.finish()
    target.links_follow()
    target.close()


def floor(nodes: list[Node], root: Path) -> None:
    top = os.open(root, os.O_RDONLY)
    folder = -1
    for serial, node in enumerate(nodes):
        if node.kind is EntryKind.DIRECTORY:
            if folder >= 0:
                os.close(folder)
            os.mkdir(node.name, dir_fd=top)
            folder = os.open(node.name, os.O_RDONLY, dir_fd=top)
            continue
        part = b"%d.part" % serial
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        os.pwrite(fd, CONTENT, 0)
        os.fchmod(fd, node.mode)
        os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))
        os.close(fd)
        os.rename(part, node.name, src_dir_fd=folder, dst_dir_fd=folder)
    os.close(folder)
    os.close(top)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    nodes = make_nodes()
    for work in (floor, extract, floor, extract):
        root = Path(tempfile.mkdtemp(dir="/dev/shm"))
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            if arguments.profile and work is extract:
                cProfile.runctx("work(nodes, root)", {}, locals(), sort="tottime")
            else:
                work(nodes, root)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            each = 1e6 / (FOLDERS * FILES)
            print(
                f"{work.__name__:8} {wall * each:6.1f} us/file wall, {cpu * each:6.1f} us/file CPU"
            )
        finally:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
