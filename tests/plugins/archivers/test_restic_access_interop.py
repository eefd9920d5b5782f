"""The real restic opens what is written here, honours our locks as we honour its, and may ask."""

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve, frozen

from backapp_core.clock import SystemClock
from backapp_core.errors import RepositoryLocked, WrongPassword
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.archivers.restic.access.holding import hold
from backapp_plugins.archivers.restic.access.key_files import new_master_key
from backapp_plugins.archivers.restic.access.key_ring import KeyRing
from backapp_plugins.archivers.restic.access.keys import OpenedKey, add_key, open_key
from backapp_plugins.archivers.restic.access.locks import read_locks, unlock
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.config import (
    Config,
    decode_config,
    encode_config,
    new_config,
)
from backapp_plugins.archivers.restic.format.unpacked import open_document, seal_description
from backapp_plugins.transports.folder import backapp_transports

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not shutil.which("restic"), reason="needs restic"),
]
[FOLDER] = backapp_transports()

WORKER = """
import os, select, sys
from pathlib import Path
from backapp_cli.signals import Stopping
from backapp_core.clock import SystemClock
from backapp_core.plugin_api import Surroundings
from backapp_plugins.archivers.restic.access.holding import hold
from backapp_plugins.archivers.restic.access.keys import open_key
from backapp_plugins.transports.folder import backapp_transports

surroundings = Surroundings(Path("cache"), Path("state"))
[folder] = backapp_transports()
transport = folder.open(folder.parse(sys.argv[1]), surroundings)
key = open_key(transport, "geheim", surroundings).master
stopping = Stopping()
stopping.raise_on_terminate()
with stopping.cancelling(surroundings.cancel, lambda text: None):
    with hold(transport, key, surroundings, version=2, is_exclusive=False) as require:
        os.write(1, b"begun\\n")
        while not surroundings.cancel.is_cancelled:
            # A signal does not end a read.
            if select.select([0], [], [], 0.05)[0] and os.read(0, 1):
                require()
                os.write(1, b"alive\\n")
os.write(1, b"stopped\\n")
sys.exit(stopping.exit_code)
"""


@frozen
class Access:
    """One repository, as restic and as this program come to it."""

    folder: Path
    surroundings: Surroundings
    transport: Transport
    environment: dict[str, str]

    def restic(
        self, *arguments: str | Path, code: int = 0, password: str = "geheim", **options: object
    ) -> str:
        done = subprocess.run(
            ["restic", "-r", self.folder, "--no-cache", *arguments],
            capture_output=True,
            text=True,
            env={**self.environment, "RESTIC_PASSWORD": password},
            check=False,
            **options,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def begin_restic(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["restic", "-r", self.folder, "--no-cache", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self.environment, "RESTIC_PASSWORD": "geheim"},
        )

    def open(self, password: str = "geheim") -> OpenedKey:
        return open_key(self.transport, password, self.surroundings)

    def codec(self, key: OpenedKey) -> BlobCodec:
        return BlobCodec(key.master, os.urandom)

    def config(self, key: OpenedKey) -> Config:
        document = open_document(self.codec(key), self.transport.read("config"))
        return decode_config(document, address=self.transport.address)

    def hold(self, key: OpenedKey, *, is_exclusive: bool, version: int = 2):
        return hold(
            self.transport,
            key.master,
            self.surroundings,
            version=version,
            is_exclusive=is_exclusive,
        )

    def create(self, config: bytes) -> None:
        """Create a repository whose description is ``config``."""
        master = new_master_key(os.urandom)
        add_key(self.transport, master, "geheim", self.surroundings)
        self.transport.put("config", [seal_description(BlobCodec(master, os.urandom), config)])


@pytest.fixture
def access(tmp_path: Path) -> Access:
    surroundings = evolve(make_surroundings(tmp_path, clock=SystemClock()), random_bytes=os.urandom)
    transport = FOLDER.open(FOLDER.parse(str(tmp_path / "repo")), surroundings)
    transport.prepare()
    environment = {**os.environ, "HOME": str(tmp_path), "TZ": "Asia/Kolkata"}
    return Access(tmp_path / "repo", surroundings, transport, environment)


@pytest.fixture
def made(access: Access, cheap_keys: None) -> Access:
    """Return access to a repository whose password is cheap to try, for restic, too."""
    access.create(encode_config(new_config(os.urandom, "rabin")))
    (access.folder / "locks").mkdir()
    return access


def locked_files(access: Access) -> list[str]:
    # What restic is still writing has a longer name.
    return [path.name for path in (access.folder / "locks").iterdir() if len(path.name) == 64]


def test_restic_opens_and_uses_what_was_created_here(access: Access) -> None:
    config = encode_config(new_config(os.urandom, "fastcdc"))
    access.create(config[:-1] + b',"append_only":false,"x":{"y":[1]}}')
    (access.folder.parent / "file").write_bytes(os.urandom(1 << 20))
    access.restic("backup", access.folder.parent / "file")
    access.restic("check", "--read-data")
    assert "done" in access.restic("prune")
    assert access.config(access.open()).chunker == "fastcdc"


@pytest.mark.parametrize("version", [1, 2])
def test_what_restic_says_of_its_repository_is_written_the_same(
    access: Access, version: int
) -> None:
    access.restic("init", "--repository-version", str(version))
    key = access.open()
    document = open_document(access.codec(key), access.transport.read("config"))
    config = decode_config(document, address="here")
    assert (config.version, config.chunker) == (version, "rabin")
    assert encode_config(config) == document.rstrip()


def test_passwords_of_both_programs_stand_side_by_side(made: Access, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    made.restic("key", "add", "--new-password-file", tmp_path / "theirs")
    ring = KeyRing(made.transport, made.open("theirs"), made.surroundings, version=2)
    ours = ring.add("ours")
    assert len(ring.list()) == 3
    listed = made.restic("key", "list", password="ours")
    assert f"*{ours.hex()[:8]}" in listed
    assert all(key.id.hex()[:8] in listed for key in ring.list())
    ring.remove(made.open("geheim").id)
    made.restic("snapshots", code=1)
    changed = ring.change_password("new")
    made.restic("snapshots", password="theirs", code=1)
    made.restic("key", "remove", ours.hex()[:8], password="new")
    made.restic("key", "passwd", "--new-password-file", tmp_path / "theirs", password="new")
    with pytest.raises(WrongPassword):
        made.open("new")
    opened = made.open("theirs")
    assert opened.id != changed
    assert opened.master == ring.current.master


def test_a_backup_of_restic_lets_backups_run_and_stops_removal(made: Access) -> None:
    key = made.open()
    theirs = made.begin_restic("backup", "--stdin")
    while not locked_files(made):
        assert theirs.poll() is None
        made.surroundings.clock.wait(0.02)
    with made.hold(key, is_exclusive=False) as require:
        require()
    with (
        pytest.raises(RepositoryLocked, match=f"process {theirs.pid} "),
        made.hold(key, is_exclusive=True),
    ):
        pass
    theirs.communicate(b"content")
    assert theirs.returncode == 0
    with made.hold(key, is_exclusive=True) as require:
        require()


def test_a_removal_of_restic_excludes_until_it_is_dead_and_unlocked(
    made: Access, tmp_path: Path
) -> None:
    key = made.open()
    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    made.restic("backup", tmp_path / "file")
    theirs = made.begin_restic("check", "--read-data", "--limit-download", "1")
    while not locked_files(made):
        assert theirs.poll() is None
        made.surroundings.clock.wait(0.02)
    theirs.kill()
    theirs.communicate()
    with (
        pytest.raises(RepositoryLocked, match="is locked exclusively by process"),
        made.hold(key, is_exclusive=False),
    ):
        pass
    [found] = unlock(made.transport, made.codec(key), made.surroundings, remove_all=False)
    assert found.lock
    assert found.lock.pid == theirs.pid
    with made.hold(key, is_exclusive=True):
        pass


@pytest.mark.parametrize("version", [1, 2])
def test_restic_honours_our_locks(access: Access, version: int) -> None:
    access.restic("init", "--repository-version", str(version))
    key = access.open()
    with access.hold(key, is_exclusive=False, version=version) as require:
        assert "already locked by PID" in access.restic("prune", code=1)
        access.restic("snapshots")
        require()
    with access.hold(key, is_exclusive=True, version=version) as require:
        said = access.restic("snapshots", code=1)
        assert f"already locked exclusively by PID {os.getpid()} on " in said
        require()
    access.restic("prune")


@pytest.fixture
def begin(made: Access) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that begins a run of ours which holds a lock and stops when asked to."""
    begun: list[subprocess.Popen[bytes]] = []

    def call(terminal: int | None = None) -> subprocess.Popen[bytes]:
        def attach() -> None:
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, made.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=attach,  # noqa: PLW1509  # no other thread is at work
        )
        begun.append(process)
        expect(process, b"begun\n")
        return process

    yield call
    for process in begun:
        process.kill()
        process.communicate()


def expect(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdout
    assert process.stdout.readline() == line


def require_alive(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    process.stdin.write(b"?")
    process.stdin.flush()
    expect(process, b"alive\n")


def test_restic_may_ask_whether_a_run_of_ours_lives(made: Access, begin) -> None:
    process = begin()
    [name] = locked_files(made)
    made.restic("unlock")
    require_alive(process)
    assert locked_files(made) == [name]


def test_a_run_that_was_asked_still_stops_when_its_terminal_goes(made: Access, begin) -> None:
    above, below = pty.openpty()
    process = begin(below)
    made.restic("unlock")
    require_alive(process)
    os.close(below)
    os.close(above)
    process.wait(timeout=30)
    assert process.returncode == 128 + signal.SIGHUP
    expect(process, b"stopped\n")
    assert locked_files(made) == []


def test_a_run_of_ours_whose_lock_restic_removes_goes_no_further(made: Access) -> None:
    key = made.open()
    with made.hold(key, is_exclusive=True) as require:
        made.restic("unlock", "--remove-all")
        with pytest.raises(RepositoryLocked, match="removed meanwhile"):
            require()


def test_the_lock_of_a_run_that_was_killed_stops_neither_program(made: Access, begin) -> None:
    key = made.open()
    process = begin()
    process.kill()
    process.wait()
    [found] = read_locks(made.transport, made.codec(key))
    assert found.is_stale(made.surroundings.clock.now())
    made.restic("unlock")
    assert locked_files(made) == []
    process = begin()
    process.kill()
    process.wait()
    with made.hold(key, is_exclusive=True) as require:
        require()
