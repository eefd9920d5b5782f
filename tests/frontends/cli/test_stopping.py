"""Signals, closed pipes and full outputs."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import backapp_core

PROGRAM = [sys.executable, "-m", "backapp_cli"]

SLOW_PLUGIN = '''
import sys, threading
from pathlib import Path
from urllib.parse import urlsplit
from attrs import frozen
from backapp_core.plugin_api import Transport, TransportKind, hookimpl
import backapp_plugins.transports.folder as folder

@frozen
class SlowSettings:
    path: str
    is_stuck: bool

class Slow:
    """A folder that waits in the middle until the run is asked to stop, or for ever."""

    def __init__(self, inner, cancel, is_stuck):
        self._inner, self._cancel, self._is_stuck = inner, cancel, is_stuck

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def put(self, name, body, **options):
        return self._inner.put(name, self._slowly(name, body), **options)

    def _slowly(self, name, body):
        for number, chunk in enumerate(body):
            if name.startswith(("data/", "archives/")) and number == 1:
                sys.stdout.write("begun\\n")
                sys.stdout.flush()
                while self._is_stuck or not self._cancel.is_cancelled:
                    threading.Event().wait(0.02)
            yield chunk

Transport.register(Slow)  # it is one by what it hands on

def _open(settings, surroundings):
    [kind] = folder.backapp_transports()
    inner = kind.open(kind.parse(settings.path), surroundings)
    return Slow(inner, surroundings.cancel, settings.is_stuck)

@hookimpl
def backapp_transports():
    return [TransportKind(
        name="slow",
        schemes=frozenset({"slow", "stuck"}),
        settings=SlowSettings,
        parse=lambda url: SlowSettings(urlsplit(url).path, urlsplit(url).scheme == "stuck"),
        open=_open,
    )]
'''


@pytest.fixture
def begin(cli, archiver: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that begins a command and returns when it is in the middle of storing."""
    cli("init", "-r", tmp_path / "repo", *(["--archiver", archiver] if archiver else []))
    plugins = tmp_path / "plugins"
    (plugins / "slow-1.dist-info").mkdir(parents=True)
    (plugins / "slow-1.dist-info" / "METADATA").write_text("Name: slow\nVersion: 1\n")
    (plugins / "slow-1.dist-info" / "entry_points.txt").write_text(
        "[backapp]\nslow = slow_plugin\n"
    )
    (plugins / "slow_plugin.py").write_text(SLOW_PLUGIN)
    source = tmp_path / "noise"
    source.write_bytes(os.urandom(48 << 20))
    begun: list[subprocess.Popen[bytes]] = []

    def call(
        *arguments: str, scheme: str = "slow", stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        backup = ("backup", source, "-r", f"{scheme}://{tmp_path}/repo")
        one = subprocess.Popen(
            [*PROGRAM, *(arguments or backup)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": str(plugins)},
        )
        begun.append(one)
        assert one.stdout
        assert b"begun\n" in iter(one.stdout.readline, b""), one.communicate()
        return one

    yield call
    for one in begun:
        one.kill()
        one.communicate()


def _is_tidy(repository: Path) -> bool:
    """Say whether no lock and nothing half-written was left behind."""
    files = [one for one in repository.rglob("*") if one.is_file()]
    names = {one.name for one in files if one.parent.name != "locks"}
    return len(names) == len(files) and all(
        len(name) == 64 or name in {"config", "backapp.json"} for name in names
    )


@pytest.mark.parametrize(
    ("archiver", "number", "code"),
    # What a hang-up means while a lock of restic's is held depends on who sent it.
    [("", signal.SIGINT, 130), ("", signal.SIGTERM, 143), ("targz", signal.SIGHUP, 129)],
    ids=["int", "term", "hup"],
)
def test_the_first_signal_stops_cleanly(
    begin, cli, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = begin()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.decode().splitlines()[0].startswith("stopping cleanly; ")
    assert err.decode().splitlines()[-1] == "backapp: stopped on request"
    assert cli("snapshots", "--json", "-r", tmp_path / "repo").messages == []
    assert _is_tidy(tmp_path / "repo")


def test_a_hang_up_that_is_ignored_does_not_stop_a_run(begin, cli, tmp_path: Path) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = begin()
    finally:
        signal.signal(signal.SIGHUP, ignored)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("archiver", ["targz"])
def test_a_terminal_that_goes_away_stops_the_run_cleanly(begin, cli, tmp_path: Path) -> None:
    above, below = pty.openpty()
    process = begin(stderr=below)
    os.close(below)
    os.close(above)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 129
    assert _is_tidy(tmp_path / "repo")


def test_the_second_signal_ends_at_once_and_the_next_run_works(begin, cli, tmp_path: Path) -> None:
    process = begin(scheme="stuck")
    process.send_signal(signal.SIGINT)
    assert process.stderr
    assert process.stderr.readline().startswith(b"stopping cleanly")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    cli("backup", tmp_path / "noise", "-r", tmp_path / "repo")
    cli("check", "--read-data", "-r", tmp_path / "repo")


INTERRUPTED_IMPORT = """
import os, signal, sys
from backapp_cli.__main__ import main

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "backapp_cli.run":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.exit(main())
"""


def test_ctrl_c_before_anything_has_begun_says_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_programs_are_told_that_it_was_stopped(begin, tmp_path: Path) -> None:
    process = begin("backup", tmp_path / "noise", "-r", f"slow://{tmp_path}/repo", "--json")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert json.loads(out.splitlines()[-1]) == {
        "message_type": "exit_error",
        "code": 130,
        "message": "stopped on request",
    }


def test_a_job_that_is_stopped_is_recorded_as_cancelled(begin, cli, tmp_path: Path) -> None:
    with backapp_core.assemble() as engine:
        roots = (bytes(tmp_path / "noise"),)
        engine.jobs.add(backapp_core.Job("j", f"slow://{tmp_path}/repo", roots))
    process = begin("job", "run", "j")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    [run] = cli("runs", "list", "--json").of("run")
    assert run["state"] == "cancelled"


def test_a_reader_that_goes_away_is_no_error(process, kept, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        for command in (["ls", "latest"], ["dump", "latest", tmp_path / "source"], ["--help"]):
            result = process(*command, code=141, capture_output=False, stdout=closed, stderr=-1)
            assert result.err == ""


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_closed_streams_are_no_error_and_no_file_is_taken_for_them(
    process, kept, source: Path, repository: Path, closed: tuple[int, ...]
) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    files = sorted(repository.rglob("*"))
    for command in (["snapshots"], ["--version"]):
        result = process(*command, preexec_fn=close)
        assert bool(result.out) == (1 not in closed)
        assert result.err == ""
    assert sorted(repository.rglob("*")) == files
    process("backup", source, preexec_fn=close)
    process("check", "--read-data")
    code = 2 if 1 in closed else 0
    result = process("dump", "latest", source / "todo", preexec_fn=close, code=code)
    assert ("standard output is closed" in result.err) == (code == 2 and 2 not in closed)


def test_a_full_output_is_an_error(process, kept) -> None:
    with open("/dev/full", "wb") as full:
        result = process("ls", "latest", code=1, capture_output=False, stdout=full, stderr=-1)
    assert result.err == "backapp: standard output cannot be written: No space left on device\n"


def test_names_do_not_stop_a_terminal_without_unicode(process, kept, source: Path) -> None:
    (source / "ü").write_text("x")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process("backup", source, env=environment)
    assert rf"{source}/\xfc" in process("ls", "latest", env=environment).out
