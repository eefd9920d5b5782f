"""Whole programs that are told to stop, run out of memory, or work beside each other."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("signals and limits of Linux", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PROGRAM = (sys.executable, "-m", "backapp_cli")


class Programs:
    """The program at work on one repository, with key derivation as expensive as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "BACKAPP_REPOSITORY": str(folder / "repository"),
            "BACKAPP_PASSWORD": "secret",
        }
        (folder / "home").mkdir()
        self.source.mkdir()
        for number in range(300):
            (self.source / f"{number}").write_bytes(random.Random(number).randbytes(100_000))
        self.run("init", "--archiver", "restic")

    def start(self, *command: str | Path, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            (*before, *PROGRAM, *command),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def finish(self, process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
        with process:
            said, complaint = process.communicate(timeout=300)
        return process.returncode, said.decode(), complaint.decode()

    def run(self, *command: str | Path) -> str:
        status, said, complaint = self.finish(self.start(*command))
        assert status == 0, complaint
        return said

    def snapshots(self) -> list[str]:
        lines = map(json.loads, self.run("snapshots", "--json").splitlines())
        return [line["id"] for line in lines if line["message_type"] == "snapshot"]

    def require_sound(self, snapshot_ids: list[str]) -> None:
        """All these are there and whole, nothing else is, and nothing is locked."""
        assert sorted(self.snapshots()) == sorted(snapshot_ids)
        self.run("check", "--read-data")
        assert list((self.folder / "repository" / "locks").iterdir()) == []


@pytest.fixture
def programs(quick_folder) -> Programs:
    return Programs(quick_folder)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_ends_a_backup_within_seconds(programs, which):
    began = time.monotonic()
    programs.run("backup", programs.source)
    usual_seconds = time.monotonic() - began
    there = programs.snapshots()
    statuses = []
    chance = random.Random(which)
    for number in range(12):
        for file in range(0, 300, 3):
            (programs.source / f"{file}").write_bytes(random.Random(-number).randbytes(100_000))
        process = programs.start("backup", programs.source)
        time.sleep(chance.random() * usual_seconds)
        process.send_signal(which)
        asked_at = time.monotonic()
        status, _, complaint = programs.finish(process)
        assert time.monotonic() - asked_at <= 10
        # A signal that comes before the program has got hold of them ends it at once.
        assert "Traceback" not in complaint or status == -which
        statuses.append(status)
        assert status in {0, 130, 143, -which}
        before, there = set(there), programs.snapshots()
        # One that was published and not acknowledged is there, and whole.
        assert before <= set(there)
        assert len(there) == len(before) + 1 if status == 0 else len(there) <= len(before) + 1
        programs.require_sound(there)
    print(f"signal {which}: {statuses}")
    assert any(statuses)
    programs.run("backup", programs.source)


def test_two_programs_back_up_and_a_third_prunes(programs):
    programs.run("backup", programs.source)
    for number in range(6):
        (programs.source / f"new {number}").write_bytes(random.Random(number).randbytes(3_000_000))
        running = [programs.start("backup", "--host", host, programs.source) for host in ("a", "b")]
        running.append(programs.start("forget", "--keep-last", "1", "--prune"))
        results = [programs.finish(process) for process in running]
        for status, _, complaint in results:
            assert status == 0 or "locked" in complaint
            assert "Traceback" not in complaint
        programs.require_sound(programs.snapshots())
    programs.run("backup", programs.source)
    programs.run("forget", "--keep-last", "1", "--prune")
    programs.run("check", "--read-data")


def test_too_little_memory_never_makes_a_wrong_snapshot(programs):
    programs.run("backup", programs.source)
    there = programs.snapshots()
    status = 1
    failures = 0
    for mebibytes in range(150, 3000, 50):
        for file in range(0, 300, 2):
            (programs.source / f"{file}").write_bytes(random.Random(mebibytes).randbytes(100_000))
        limit = ("prlimit", f"--as={mebibytes << 20}")
        process = programs.start("backup", programs.source, before=limit)
        status, _, _ = programs.finish(process)
        if status == 0:
            break
        failures += 1
        programs.run("unlock")
        programs.require_sound(there)
    print(f"{failures} runs failed, then {mebibytes} MiB of address space were enough")
    assert (status, failures > 0) == (0, True)
    programs.run("check", "--read-data")
