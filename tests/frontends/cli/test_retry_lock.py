"""With --retry-lock, commands wait for what other processes have locked."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOLDER = """
import os, sys
from backapp_core import BackupRequest, Keys, assemble

def hear(event):
    if type(event).__name__ == "FileDone" and not said:
        said.append(True)
        print("begun", flush=True)
        sys.stdin.read()

said = []
keys = Keys(password=lambda: os.environ["BACKAPP_PASSWORD"])
with assemble(events=hear) as engine, engine.open_repository(sys.argv[1], keys=keys) as repository:
    engine.backup(repository, BackupRequest(sys.argv[2], reports_files=True))
"""
"""Backs up, and stays in the middle of it until its standard input ends."""


@pytest.fixture(params=["restic", "targz"])
def archiver(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def holder(repository: Path, source: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process in the middle of a backup."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, repository, source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"begun\n"
        yield holder
        if holder.poll() is None:
            holder.communicate(timeout=30)


@pytest.fixture
def waiting(holder: subprocess.Popen[bytes]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that begins a command and returns when it says that it waits."""
    begun: list[subprocess.Popen[bytes]] = []

    def call(*arguments: str, says_in_json: bool = False) -> subprocess.Popen[bytes]:
        one = subprocess.Popen(
            [sys.executable, "-m", "backapp_cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        begun.append(one)
        assert one.stdout
        assert one.stderr
        told = one.stdout if says_in_json else one.stderr
        line = told.readline().decode()
        assert f"by process {holder.pid} " in line, line
        assert "waiting for a lock, " in line
        if says_in_json:
            assert json.loads(line)["level"] == "warning"
        return one

    yield call
    for one in begun:
        one.kill()
        one.communicate()


def _files(repository: Path) -> set[Path]:
    return {one for one in repository.rglob("*") if one.is_file()}


@pytest.mark.interop  # processes, and real time
def test_a_command_waits_for_another_process_and_is_done(
    cli, kept, waiting, holder, repository: Path
) -> None:
    pruning = waiting("forget", kept, "--prune", "--retry-lock", "10m")
    assert pruning.poll() is None
    _, err = holder.communicate(timeout=60)
    assert holder.returncode == 0, err
    out, err = pruning.communicate(timeout=60)
    assert pruning.returncode == 0, out + err
    [left] = cli("snapshots", "--json").of("snapshot")
    assert left["id"] != kept
    cli("check", "--read-data")
    assert [one for one in _files(repository) if one.parent.name == "locks"] == []


@pytest.mark.interop  # processes, and real time
def test_ctrl_c_ends_the_wait_and_nothing_is_done(
    cli, kept, waiting, holder, repository: Path
) -> None:
    before = _files(repository)
    pruning = waiting("forget", kept, "--prune", "--retry-lock", "10m")
    pruning.send_signal(signal.SIGINT)
    _, err = pruning.communicate(timeout=30)
    assert pruning.returncode == 130
    assert err.decode().splitlines()[-1] == "backapp: stopped on request"
    assert _files(repository) == before
    assert holder.poll() is None


@pytest.mark.interop  # processes, and real time
def test_programs_are_told_what_is_waited_for(kept, waiting, holder) -> None:
    pruning = waiting("prune", "--json", "--retry-lock", "10m", says_in_json=True)
    holder.communicate(timeout=60)
    out, _ = pruning.communicate(timeout=60)
    assert pruning.returncode == 0, out


@pytest.mark.interop  # processes, and real time
def test_when_the_time_is_over_the_exit_code_is_that_of_a_locked_repository(
    cli, kept, holder
) -> None:
    at_once = cli("prune", code=11).err
    assert f"by process {holder.pid} " in at_once
    said, error = cli("prune", "--retry-lock", "1s", code=11).err.splitlines()
    assert said.startswith("warning: waiting for a lock, 0:01 at most: ")
    assert error == at_once.strip()


@pytest.mark.interop  # processes, and real time
def test_a_job_waits_as_the_settings_file_says(
    cli, kept, holder, source: Path, repository: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("retry_lock = '1s'\n")
    cli("job", "add", "j", source, "-r", repository, "--keep-last", "1")
    for options, waits in [
        (("--config", settings), True),
        (("--config", settings, "--retry-lock", "0s"), False),
        (("--retry-lock", "1s"), True),
    ]:
        # A backup is none that excludes another, but the policy is applied under a lock.
        result = cli("job", "run", "j", *options, code=3)
        assert ("waiting for a lock" in result.err) == waits
        assert "retention failed" in result.err


@pytest.mark.parametrize("text", ["", "5", "5x", "m", "30m1h", "-5m", "1d", "9999h"])
def test_what_is_no_stretch_of_time_is_bad_usage(cli, monkeypatch, tmp_path: Path, text) -> None:
    assert cli("prune", f"--retry-lock={text}", "-r", tmp_path, code=2).err
    if text:
        monkeypatch.setenv("BACKAPP_RETRY_LOCK", text)
        assert "$BACKAPP_RETRY_LOCK" in cli("prune", "-r", tmp_path, code=2).err
