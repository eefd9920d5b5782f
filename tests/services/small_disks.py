"""Small disks in memory, to be filled up; only root can make them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def mount_small(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that mounts a disk of so many bytes, in memory."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounts a tmpfs, as root on Linux")
    disk = tmp_path / "disk"

    def mount(size_bytes: int) -> Path:
        disk.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", disk], check=True
        )
        return disk

    try:
        yield mount
    finally:
        if disk.is_mount():
            subprocess.run(["umount", "-l", disk], check=True)


def fill_up(disk: Path) -> Path:
    """Leave not a single byte on a disk, and return the file that takes it all."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 4096, 512, 1):
            try:
                while True:
                    file.write(b"\xff" * size)
            except OSError:
                continue
    return filler
