"""The program within this process, and as a process of its own, with folders of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from backapp_cli.run import run


@dataclass
class Result:
    """What a command left behind."""

    code: int
    raw: bytes
    raw_errors: bytes
    out: str = field(init=False)
    err: str = field(init=False)

    def __post_init__(self) -> None:
        self.out = self.raw.decode("utf-8", "surrogateescape")
        self.err = self.raw_errors.decode("utf-8", "surrogateescape")

    @property
    def messages(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, message_type: str) -> list[dict]:
        return [one for one in self.messages if one["message_type"] == message_type]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person who runs the tests is read, and nothing of theirs is written."""
    for name in list(os.environ):
        if name.startswith(("BACKAPP_", "RESTIC_", "_BACKAPP")):
            monkeypatch.delenv(name)
    for name in ("CACHE", "STATE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "home" / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("BACKAPP_PASSWORD", "secret")


@pytest.fixture(autouse=True)
def quick_repositories(cheap_keys: None, locks_are_seen_at_once: None) -> None:
    """Most commands are alone with a repository, and few tests are about what keeps it safe."""


@pytest.fixture
def cli(capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Callable[..., Result]]:
    """Run a command line in this process, exactly as the program does."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def call(*arguments: str | bytes | Path, code: int | None = 0) -> Result:
        capsysbinary.readouterr()
        actual = run([os.fsdecode(one) for one in arguments])
        result = Result(actual, *capsysbinary.readouterr())
        if code is not None:
            assert result.code == code, f"{arguments}: {result.out}{result.err}"
        return result

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def process() -> Callable[..., Result]:
    """Run a command line as a process of its own and wait for it."""

    def call(*arguments: str | bytes | Path, code: int | None = 0, **options: object) -> Result:
        done = subprocess.run(  # noqa: PLW1510  # check stands among the options
            [sys.executable, "-m", "backapp_cli", *map(os.fsencode, arguments)],
            **{"capture_output": True, "check": False, "stdin": subprocess.DEVNULL, **options},
        )
        result = Result(done.returncode, done.stdout or b"", done.stderr or b"")
        if code is not None:
            assert result.code == code, f"{arguments}: {result.out}{result.err}"
        return result

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small folder worth keeping."""
    folder = tmp_path / "source"
    (folder / "letters").mkdir(parents=True)
    (folder / "letters" / "mum.txt").write_text("Dear mum\n")
    (folder / "letters" / "bank.txt").write_text("Dear Sirs\n")
    (folder / "todo").write_text("water the plants\n")
    (folder / "link").symlink_to("todo")
    return folder


@pytest.fixture
def archiver() -> str:
    """The format of `repository`; empty for what is made where nobody asked for a format."""
    return ""


@pytest.fixture
def repository(cli: Callable[..., Result], archiver: str, tmp_path: Path, monkeypatch) -> Path:
    """An empty repository, which is the one that commands use."""
    place = tmp_path / "repository"
    cli("init", "-r", place, *(["--archiver", archiver] if archiver else []))
    monkeypatch.setenv("BACKAPP_REPOSITORY", str(place))
    return place


@pytest.fixture
def kept(cli: Callable[..., Result], repository: Path, source: Path) -> str:
    """The id of a snapshot of ``source`` in ``repository``."""
    [summary] = cli("backup", source, "--json").of("summary")
    return summary["snapshot_id"]


@pytest.fixture
def fingerprint() -> Callable[..., str]:
    """Return a function: folders to a hash over names, kinds and contents of everything in them."""

    def of(*folders: Path) -> str:
        total = sha256()
        for folder in folders:
            for path in sorted([folder, *folder.rglob("*")]):
                total.update(os.fsencode(path))
                if path.is_symlink():
                    total.update(os.fsencode(os.readlink(path)))
                elif path.is_file():
                    total.update(path.read_bytes())
                elif not path.exists():
                    total.update(b"is not there")
        return total.hexdigest()

    return of


@pytest.fixture
def small_disk(mount_small: Callable[[int], Path]) -> Path:
    """A file system of 4 MiB, which only root can make."""
    return mount_small(4 << 20)
