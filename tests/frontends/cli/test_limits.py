"""Limits of the line, from wherever they are said to the transport."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PLUGIN = '''
import sys
from backapp_core.plugin_api import Transport, TransportKind, hookimpl
import backapp_plugins.transports.folder as folder

LINES = []

class Far(Transport):
    """A folder that is taken to be elsewhere, and says how long the pieces are that it gets."""

    def __init__(self, inner, is_telling):
        self._inner, self._is_telling = inner, is_telling

    address = property(lambda self: self._inner.address)

    def put(self, name, body, **options):
        return self._inner.put(name, self._told(name, body), **options)

    def _told(self, name, body):
        for number, piece in enumerate(body):
            if self._is_telling and number == 1 and name.startswith("data/"):
                sys.stdout.write(f"{len(piece)}\\\\n")
                sys.stdout.flush()
            yield piece

    def get(self, name, **options): return self._inner.get(name, **options)
    def stat(self, name): return self._inner.stat(name)
    def list(self, prefix=""): return self._inner.list(prefix)
    def delete(self, name): self._inner.delete(name)
    def prepare(self): self._inner.prepare()
    def close(self): self._inner.close()

def _open(path, surroundings):
    line = surroundings.line
    LINES.append((line.upload.bytes_per_second, line.download.bytes_per_second))
    [kind] = folder.backapp_transports()
    return Far(kind.open(kind.parse(path), surroundings), __name__ == "telling_plugin")

@hookimpl
def backapp_transports():
    return [TransportKind("far", frozenset({"far"}), str, lambda text: text[4:], _open)]
'''


def _installed(folder: Path, module: str) -> Path:
    (folder / "far-1.dist-info").mkdir(parents=True)
    (folder / "far-1.dist-info" / "METADATA").write_text("Name: far\nVersion: 1\n")
    (folder / "far-1.dist-info" / "entry_points.txt").write_text(f"[backapp]\nfar = {module}\n")
    (folder / f"{module}.py").write_text(PLUGIN.replace("\\\\n", "\\n"))
    return folder


@pytest.fixture
def lines(
    cli, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[int | None, int | None]]]:
    """What transports found as limits when they were opened, once a repository is there."""
    monkeypatch.syspath_prepend(_installed(tmp_path / "plugins", "far_plugin"))
    monkeypatch.setenv("BACKAPP_REPOSITORY", f"far:{repository}")
    cli("snapshots")
    found = sys.modules["far_plugin"].LINES
    found.clear()
    yield found
    del sys.modules["far_plugin"]


def test_limits_reach_the_transport_of_whatever_is_asked(
    cli, lines: list[tuple[int | None, int | None]], source: Path, tmp_path: Path
) -> None:
    options = ("--limit-upload", "2000", "--limit-download", "3M")
    second = f"far:{tmp_path}/second"
    commands = [
        ("backup", source),
        ("snapshots",),
        ("restore", "latest", "--target", tmp_path / "back"),
        ("check", "--read-data"),
        ("prune",),
        ("init", "-r", second),
        ("copy", "-r", second, "--from-repo", os.environ["BACKAPP_REPOSITORY"],
         "--from-password-command", "echo secret"),
        ("key", "list"),
    ]  # fmt: skip
    for command in commands:
        cli(*command, *options)
        assert lines, command
        assert {*lines} == {(2000 << 10, 3 << 20)}, command
        lines.clear()
    cli("--limit-upload", "2000", "snapshots", "--limit-download", "0")
    assert lines == [(2000 << 10, None)]


def test_jobs_keep_the_limits_of_the_settings_file(
    cli, lines: list[tuple[int | None, int | None]], source: Path, tmp_path: Path, monkeypatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("limit_upload = '4M'\nlimit_download = 5000\n")
    monkeypatch.setenv("BACKAPP_CONFIG", str(file))
    cli("job", "add", "all", source, "-r", os.environ["BACKAPP_REPOSITORY"])
    lines.clear()
    cli("job", "run", "all")
    assert {*lines} == {(4 << 20, 5000 << 10)}
    lines.clear()
    monkeypatch.setenv("BACKAPP_LIMIT_UPLOAD", "6M")
    cli("job", "run", "all", "--limit-download", "7M")
    assert {*lines} == {(6 << 20, 7 << 20)}
    assert (
        "no such option '--limit-upload'"
        in cli("job", "add", "other", source, "-r", "x", "--limit-upload", "1", code=2).err
    )


@pytest.mark.parametrize("said", ["fast", "-5", "0.5"])
def test_what_is_no_limit_is_refused_before_anything_happens(cli, source: Path, said: str) -> None:
    answer = cli("backup", source, "-r", "nowhere", f"--limit-upload={said}", code=2).err
    assert "--limit-upload" in answer
    assert "0" in answer


@pytest.fixture
def begun(
    repository: Path, tmp_path: Path
) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], int]]]:
    """Begins a backup of a MiB of noise, and returns once some of it was sent, and how much."""
    source = tmp_path / "noise"
    source.write_bytes(os.urandom(1 << 20))
    running: list[subprocess.Popen[bytes]] = []

    def begin(*options: str) -> tuple[subprocess.Popen[bytes], int]:
        command = ("backup", source, "-r", f"far:{repository}", *options)
        one = subprocess.Popen(
            [sys.executable, "-m", "backapp_cli", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [str(_installed(tmp_path / "told", "telling_plugin")),
                     os.environ.get("PYTHONPATH", "")]
                ),
            },
        )  # fmt: skip
        running.append(one)
        assert one.stdout
        lines = (line.strip() for line in iter(one.stdout.readline, b""))
        return one, int(next(line for line in lines if line.isdigit()))

    yield begin
    for one in running:
        one.kill()
        one.communicate()


@pytest.mark.thorough
def test_a_backup_that_waits_for_the_line_is_stopped_at_once(cli, begun, repository: Path) -> None:
    """At this rate it would go on for a quarter of an hour."""
    process, piece_bytes = begun("--limit-upload", "1")
    assert piece_bytes == 128
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "backapp: stopped on request"
    assert cli("snapshots", "--json", "-r", repository).messages == []
    assert not [one for one in (repository / "locks").iterdir() if one.is_file()]
