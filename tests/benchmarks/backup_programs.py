"""The programs that are compared with one another, by the words that each of them understands."""

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from measuring import timed
from typing_extensions import override

PASSWORD = "the same for all"
Command = list[str]


class Program(ABC):
    """One of the programs. A place is a folder with a repository and all that belongs to it."""

    name: str

    @abstractmethod
    def version(self) -> str:
        """Return what it says of itself."""

    @abstractmethod
    def create(self, place: Path) -> None:
        """Make an empty repository, and forget everything that was cached of the last one."""

    @abstractmethod
    def backup(self, place: Path, source: Path) -> Command:
        """Return the command that makes a snapshot."""

    @abstractmethod
    def restore(self, place: Path, target: Path) -> Command:
        """Return the command that restores the newest snapshot; it is run in ``target``."""

    @abstractmethod
    def check(self, place: Path) -> Command:
        """Return the command that reads and verifies everything."""

    @abstractmethod
    def forget(self, place: Path, keep: int) -> Sequence[Command]:
        """Return the commands that remove all but the newest snapshots, and the space with them."""

    def key_seconds(self, place: Path) -> float:
        """Return how long it takes to make the key of the password; at least that, if unknown."""
        del place
        return 0.0

    def environment(self, place: Path) -> dict[str, str]:
        """Return what commands run with."""
        clean = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        return {**clean, "HOME": str(place), "TMPDIR": str(place)}

    def stored_bytes(self, place: Path) -> int:
        """Return how much the repository takes."""
        found = (path for path in (place / "repository").rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in found)

    def run(self, place: Path, command: Command) -> str:
        """Run a command that is not timed."""
        done = subprocess.run(
            command, env=self.environment(place), stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.strip()


def emptied(place: Path) -> Path:
    """Return a folder with nothing in it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


class Restic(Program):
    """restic; what it verifies of what it restores is what `--verify` does not do: every blob."""

    name = "restic"
    program: Sequence[str] = ("restic",)
    creation: Sequence[str] = ()

    @override
    def version(self) -> str:
        return subprocess.run(
            [*self.program, "version"], capture_output=True, text=True, check=True
        ).stdout.strip()

    @override
    def create(self, place: Path) -> None:
        emptied(place)
        (place / "password").write_text(PASSWORD)
        (place / "password").chmod(0o600)
        self.run(place, self._command(place, "init", *self.creation))
        self.equalise_key(place)

    def equalise_key(self, place: Path) -> None:
        """Give the repository a key that costs as much to derive as ours.

        restic measures how much the machine can do, and what comes out differs from run to run.
        """
        script = str(Path(__file__).with_name("equalise_key.py"))
        subprocess.run([sys.executable, script, str(place / "repository"), PASSWORD], check=True)

    @override
    def backup(self, place: Path, source: Path) -> Command:
        return self._command(place, "backup", str(source))

    @override
    def restore(self, place: Path, target: Path) -> Command:
        return self._command(place, "restore", "latest", "--target", str(target))

    @override
    def check(self, place: Path) -> Command:
        return self._command(place, "check", "--read-data")

    @override
    def forget(self, place: Path, keep: int) -> Sequence[Command]:
        return [self._command(place, "forget", "--keep-last", str(keep), "--prune")]

    @override
    def key_seconds(self, place: Path) -> float:
        # Listing keys takes little more than opening the repository.
        command, environment = self._command(place, "list", "keys"), self.environment(place)
        return median(timed(command, env=environment).seconds for _ in range(5))

    def key_cost(self, place: Path) -> str:
        """Return the parameters of the repository's key."""
        [path] = (place / "repository" / "keys").iterdir()
        key = json.loads(path.read_bytes())
        return ", ".join(f"{name}={key[name]}" for name in "Nrp")

    def _command(self, place: Path, verb: str, *words: str) -> Command:
        common = ["-q", "-r", str(place / "repository"), "--cache-dir", str(place / "cache")]
        return [*self.program, verb, *common, "--password-file", str(place / "password"), *words]


class Backapp(Restic):
    """The one that this is all about; it knows restic's words.

    Modules are compiled into a folder of their own, once, as where it is installed.
    """

    name = "backapp"
    program: Sequence[str] = (sys.executable, "-m", "backapp_cli")
    creation: Sequence[str] = ("--archiver", "restic")

    def __init__(self, compiled: Path) -> None:
        self._compiled = str(compiled)

    @override
    def environment(self, place: Path) -> dict[str, str]:
        return {**super().environment(place), "PYTHONPYCACHEPREFIX": self._compiled}

    @override
    def equalise_key(self, place: Path) -> None:
        """Leave it as it is; it is restic's that follows."""

    @override
    def key_seconds(self, place: Path) -> float:
        script = str(Path(__file__).with_name("equalise_key.py"))
        command = [sys.executable, script, str(place / "repository"), PASSWORD, "--only-time"]
        return float(self.run(place, command))


class Borg(Program):
    """Borg 1; compresses as the others do, with zstd at level 3 instead of lz4."""

    name = "borg"

    def __init__(self, program: str) -> None:
        self._program = program
        self._quiet = (program, "--error")

    @override
    def version(self) -> str:
        return subprocess.run(
            [self._program, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()

    @override
    def environment(self, place: Path) -> dict[str, str]:
        return {
            **super().environment(place),
            "BORG_BASE_DIR": str(place),
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    @override
    def create(self, place: Path) -> None:
        emptied(place)
        self.run(place, [*self._quiet, "init", "-e", "repokey", self._repository(place)])

    @override
    def backup(self, place: Path, source: Path) -> Command:
        archive = f"{self._repository(place)}::{{now:%Y-%m-%dT%H:%M:%S.%f}}"
        return [*self._quiet, "create", "--compression", "zstd,3", archive, str(source)]

    @override
    def restore(self, place: Path, target: Path) -> Command:
        listed = [*self._quiet, "list", "--last", "1", "--short", self._repository(place)]
        return [*self._quiet, "extract", f"{self._repository(place)}::{self.run(place, listed)}"]

    @override
    def check(self, place: Path) -> Command:
        return [*self._quiet, "check", "--verify-data", self._repository(place)]

    @override
    def forget(self, place: Path, keep: int) -> Sequence[Command]:
        return [
            [*self._quiet, "prune", "--keep-last", str(keep), self._repository(place)],
            [*self._quiet, "compact", self._repository(place)],
        ]

    @staticmethod
    def _repository(place: Path) -> str:
        return str(place / "repository")
