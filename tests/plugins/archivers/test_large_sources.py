"""Sources that are large in one way: wide, deep, full of holes or of links."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

if sys.platform != "linux":
    pytest.skip("measures memory by /proc", allow_module_level=True)

TERABYTE = 1 << 40

_PROGRAM = """
import os, sys
from pathlib import Path
from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.model.jobs import BackupOptions
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_plugins.archivers import restic, targz
from backapp_plugins.scanners.files import open_files
from backapp_plugins.scanners.files.settings import FilesSettings
from backapp_plugins.transports.folder import FolderSettings, open_folder

folder, source = Path(sys.argv[1]), sys.argv[2]
surroundings = Surroundings(folder / "cache", folder / "state")
transport = open_folder(FolderSettings(folder / "repository"), surroundings)
transport.prepare()
(kind,) = {"restic": restic, "targz": targz}[sys.argv[4]].backapp_archivers()
keys = Keys(password=lambda: "secret")
if kind.recognises(transport):
    repository = kind.open(transport, keys, surroundings)
else:
    repository = kind.create(transport, kind.settings(), keys, surroundings)
if sys.argv[3] == "backup":
    scanner = open_files(FilesSettings(roots=(os.fsencode(source),)), surroundings)
    result = repository.backup(scanner, BackupOptions("host", "user"))
    print(result.snapshot.counts.files, result.snapshot.counts.problems)
elif sys.argv[3] == "check":
    print(len(repository.check(read_data=True).findings), 0)
else:
    target = FolderTarget(os.fsencode(folder / "target"), ExtractOptions(), surroundings)
    repository.restore(repository.snapshots()[-1], target)
    print(target.outcome.files, target.outcome.problems)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""


def _run(folder: Path, source: Path, verb: str, archiver: str) -> tuple[int, int, int]:
    """Do it in a process of its own; return files, problems, and its peak memory in MiB."""
    command = (sys.executable, "-c", _PROGRAM, folder, source, verb, archiver)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=1500)
    files, problems, peak = map(int, done.stdout.split())
    print(f"{archiver}: {verb} of {files} files: peak memory {peak} MiB")
    return files, problems, peak


def test_a_terabyte_of_holes_takes_no_room_and_keeps_them(any_bench):
    file = any_bench.source / "sparse"
    pieces = {0: b"first", TERABYTE // 2: b"middle", TERABYTE - 4096: b"last" * 1024}
    with file.open("wb") as opened:
        for offset, data in pieces.items():
            opened.seek(offset)
            opened.write(data)
    snapshots = [any_bench.back_up()]
    os.truncate(file, TERABYTE + (1 << 30))
    snapshots.append(any_bench.back_up())
    assert sum(map(len, any_bench.bucket.objects.values())) < 50_000
    for snapshot, size in zip(snapshots, (TERABYTE, TERABYTE + (1 << 30)), strict=True):
        assert snapshot.counts.read_bytes < 1_000_000
        top, outcome = any_bench.extract(snapshot)
        assert outcome.problems == 0
        restored = top / file.relative_to("/")
        assert restored.stat().st_size == size
        assert restored.stat().st_blocks * 512 < 1_000_000
        with restored.open("rb") as opened:
            for offset, data in pieces.items():
                opened.seek(offset)
                assert opened.read(len(data)) == data
    assert any_bench.repository.check(read_data=True).findings == ()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("archiver", ["targz", "restic"])
class TestPeakMemory:
    def test_a_million_files_in_one_folder(self, quick_folder, archiver):
        source = quick_folder / "source"
        source.mkdir()
        here = os.open(source, os.O_RDONLY)
        try:
            for number in range(1_000_000):
                name = b"file-%07d" % number
                descriptor = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here)
                if number % 10 == 0:
                    os.write(descriptor, name)
                os.close(descriptor)
        finally:
            os.close(here)
        settled_at = (source / "file-0999999").stat().st_ctime + 3
        while (
            time.time() < settled_at
        ):  # what is younger may change again without its times telling
            time.sleep(0.1)
        for number, verb in enumerate(("backup", "backup", "backup", "restore")):
            if number == 2:
                (source / "file-0500000").write_bytes(b"changed")
            files, problems, peak = _run(quick_folder, source, verb, archiver)
            assert (files, problems) == (1_000_000, 0)
            # Where something changed the old tree, of a third of a gigabyte, is opened.
            assert peak <= (700 if number == 2 else 500)

    def test_a_hundred_thousand_names_of_one_file(self, quick_folder, archiver):
        source = quick_folder / "source"
        for number in range(100):
            (source / f"{number:03}").mkdir(parents=True)
        (source / "first").write_bytes(b"content")
        for number in range(99_999):
            os.link(source / "first", source / f"{number % 100:03}/{number}")
        for verb in ("backup", "backup", "restore"):
            files, problems, peak = _run(quick_folder, source, verb, archiver)
            assert problems == 0
            assert files == 100_000 or verb == "restore"
            assert peak <= 500
        place = quick_folder / "target" / source.relative_to("/")
        assert (place / "first").stat().st_nlink == 100_000

    def test_two_thousand_levels(self, quick_folder, archiver):
        source = quick_folder / "source"
        source.mkdir()
        here = os.open(source, os.O_RDONLY)
        for level in range(2000):
            os.mkdir("level", dir_fd=here)
            below = os.open("level", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
            if level % 100 == 99:
                os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
        try:
            for verb in ("backup", "backup", "check", "restore"):
                files, problems, peak = _run(quick_folder, source, verb, archiver)
                assert problems == 0
                assert files == (0 if verb == "check" else 20)
                assert peak <= 500
        finally:
            os.system(f"rm -rf '{source}' '{quick_folder / 'target'}'")
