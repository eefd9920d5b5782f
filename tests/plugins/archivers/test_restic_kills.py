"""kill -9 of the program at every change that it makes: the next run works unaided.

The kernel kills it, at the so many-th time that it names, removes or synchronises anything: strace
tells it to. Then the same command is run again and has to succeed, and restic finds nothing wrong.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("kills by strace", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.interop, pytest.mark.timeout(7200)]
PROGRAM = (sys.executable, "-m", "backapp_cli")
CHANGES = "fsync,rename,renameat2,unlink,link"


class Killed:
    """A repository as it was before a command, copies of it, and what happens to those."""

    def __init__(self, folder: Path, restic_at: Callable[[Path], object]) -> None:
        self.folder, self._restic_at = folder, restic_at
        self.source, self.template = folder / "source", folder / "template"
        self.repository, self.other = folder / "repository", folder / "other"
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "BACKAPP_REPOSITORY": str(self.repository),
            "BACKAPP_PASSWORD": "secret",
            "BACKAPP_FROM_REPOSITORY": str(self.other),
            "BACKAPP_FROM_PASSWORD_COMMAND": "echo secret",
        }
        self.source.mkdir()
        (folder / "home").mkdir()
        self.run("init", "--archiver", "restic")
        for number in range(3):
            for name in range(12):
                content = random.Random(name * (number if name % 3 else 1)).randbytes(150_000)
                (self.source / f"{name}").write_bytes(content)
            self.run("backup", self.source)

    def run(self, *command: str | Path) -> str:
        done = self._start(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _start(self, *command: str | Path, before: Sequence[str] = ()):
        return subprocess.run(
            (*before, *PROGRAM, *command),
            check=False,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def keep(self) -> None:
        """Let this be what every run begins with."""
        shutil.copytree(self.repository, self.template)
        shutil.copytree(self.folder / "home", self.folder / "kept home")

    def _begin(self) -> None:
        for here, kept in (
            (self.repository, self.template),
            (self.folder / "home", self.folder / "kept home"),
        ):
            shutil.rmtree(here)
            shutil.copytree(kept, here)

    def largest_pack(self) -> Path:
        packs = [one for one in (self.repository / "data").rglob("*") if one.is_file()]
        return max(packs, key=lambda one: one.stat().st_size)

    def killed_everywhere(self, *command: str | Path) -> Iterator[int]:
        """Kill the command at one point after another until it comes to its end."""
        for number in count(1):
            self._begin()
            kill = f"inject={CHANGES}:signal=KILL:when={number}"
            strace = ("strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={CHANGES}")
            done = self._start(*command, before=(*strace, "-e", kill))
            if done.returncode == 0:
                assert number > 1, "it was never killed"
                return
            assert done.returncode == -9, done.stderr
            yield number

    def require_sound(self, *command: str | Path) -> None:
        """The next run of the command just works, and then all is in order to both."""
        self.run(*command)
        self.run("check", "--read-data")
        restic = self._restic_at(self.repository)
        said = restic.run("check", "--read-data")
        assert "no errors were found" in said
        self.run("prune", "--max-unused", "0")
        assert list((self.repository / "locks").iterdir()) == []
        assert [one for one in self.repository.rglob(".*") if one.is_file()] == []
        assert restic.run("prune", "--dry-run", "--max-unused", "0").count("0 B") >= 4

    def snapshots(self) -> int:
        return len(list((self.repository / "snapshots").iterdir()))

    def sweep(self, *command: str | Path, leaves: int) -> None:
        """Kill a command everywhere; the next one always ends with so many snapshots."""
        self.keep()
        points = 0
        for _ in self.killed_everywhere(*command):
            points += 1
            self.require_sound(*command)
            assert self.snapshots() == leaves
        print(f"{' '.join(map(str, command))}: killed at {points} points")
        assert points > 3


@pytest.fixture
def killed(quick_folder, restic_at) -> Killed:
    if shutil.which("strace") is None:
        pytest.fail("this test needs strace: apt install strace")
    return Killed(quick_folder, restic_at)


def test_forget_killed_anywhere(killed):
    killed.sweep("forget", "--keep-last", "1", leaves=1)


def test_prune_killed_anywhere(killed):
    killed.run("forget", "--keep-last", "1")
    killed.sweep("prune", "--max-unused", "0", leaves=1)


def test_forget_with_prune_killed_anywhere(killed):
    killed.sweep("forget", "--keep-last", "2", "--prune", "--max-unused", "0", leaves=2)


def test_repair_of_the_index_killed_anywhere(killed):
    for index in sorted((killed.repository / "index").iterdir())[:2]:
        index.unlink()
    killed.sweep("repair", "index", leaves=3)


def test_repair_of_snapshots_killed_anywhere(killed):
    killed.largest_pack().unlink()
    killed.run("repair", "index")
    killed.sweep("repair", "snapshots", "--forget", leaves=3)


def test_copy_killed_anywhere(killed):
    killed.repository.rename(killed.other)
    killed.run("init", "--archiver", "restic")
    killed.sweep("copy", leaves=3)
    killed.run("prune", "-r", killed.other)  # what was being written is nobody's, and no lock
    assert list((killed.other / "locks").iterdir()) == []
