"""A mounted repository shows what was backed up; needs FUSE."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not Path("/dev/fuse").exists() or not shutil.which("fusermount"), reason="needs FUSE"
    ),
]


def test_a_mounted_snapshot_is_what_was_backed_up(cli, kept: str, source: Path, tmp_path: Path):
    pytest.importorskip("mfusepy")
    place = tmp_path / "mounted"
    place.mkdir()
    command = [sys.executable, "-m", "backapp_cli", "mount", place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            while not os.path.ismount(place):
                assert process.poll() is None
                time.sleep(0.05)  # nobody tells when the system has mounted it
            shown = place / "ids" / kept[:8] / source.relative_to("/")
            done = subprocess.run(["diff", "-r", "--no-dereference", source, shown], check=False)
            assert done.returncode == 0
            for one in source.rglob("*"):
                at = shown / one.relative_to(source)
                assert at.lstat().st_mtime_ns == one.lstat().st_mtime_ns, one
            # It leaves out what has no blocks on the disk.
            packed = subprocess.run(
                ["tar", "-c", "--sparse", "-C", shown, "todo"], capture_output=True, check=True
            ).stdout
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                found = archive.extractfile("todo")
                assert found
                assert found.read() == (source / "todo").read_bytes() != b""
            with pytest.raises(OSError, match="Read-only"):
                (shown / "todo").write_text("other")
        finally:
            subprocess.run(["fusermount", "-u", "-z", place], check=False)
        assert process.wait(20) == 0


def test_what_is_no_folder_is_refused(cli, kept: str, tmp_path: Path):
    del kept
    assert "is no folder" in cli("mount", tmp_path / "nowhere", code=2).err
