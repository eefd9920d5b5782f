"""What is piped in, or what a command prints, as the source of a backup."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "backapp_cli"]


@pytest.fixture
def repository(cli, tmp_path: Path, monkeypatch) -> Path:
    """An empty repository that takes streams, which is the one that commands use."""
    monkeypatch.setenv("BACKAPP_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("RESTIC_PASSWORD", "secret")
    cli("init", "--archiver", "restic")
    return tmp_path / "repository"


@pytest.mark.usefixtures("repository")
def test_what_is_piped_in_becomes_a_file(process):
    process("backup", "--stdin", input=b"a dump\n", stdin=None)
    assert process("dump", "latest", "/stdin").raw == b"a dump\n"
    process("backup", "--stdin", "--stdin-filename", "dumps/../mail.sql", input=b"", stdin=None)
    assert process("dump", "latest", "/mail.sql").raw == b""


@pytest.mark.usefixtures("repository")
def test_what_a_command_prints_becomes_a_file(cli):
    arguments = ("--stdin-filename", b"/d/\xff", "--stdin-from-command", "--tag", "db", "--")
    [summary] = cli("backup", "--json", *arguments, "printf", "%s", "--force").of("summary")
    assert summary["total_bytes_processed"] == 7
    assert cli("dump", "latest", b"/d/\xff").raw == b"--force"
    assert [one["tags"] for one in cli("snapshots", "--json").of("snapshot")] == [["db"]]


@pytest.mark.usefixtures("repository")
def test_command_that_fails_leaves_no_snapshot_and_its_complaints_pass_through(process, cli):
    script = "seq 100000; echo 'no such database' >&2; exit 3"
    result = process("backup", "--stdin-from-command", "--", "sh", "-c", script, code=1)
    assert result.err.splitlines() == [
        "no such database",
        "backapp: the command 'sh' ended with exit code 3, so nothing was saved",
    ]
    assert cli("snapshots", "--json").messages == []
    result = process("backup", "--stdin-from-command", "--", "no-such-tool", code=1)
    assert result.err.startswith("backapp: the command 'no-such-tool' cannot be started: No such")


def test_repository_that_takes_no_streams_is_left_as_it_was(cli, tmp_path, fingerprint):
    cli("init", "-r", tmp_path / "tar", "--archiver", "targz")
    before = fingerprint(tmp_path / "tar")
    result = cli("backup", "-r", tmp_path / "tar", "--stdin-from-command", "--", "true", code=2)
    assert "a repository of the kind targz holds files of a known length only" in result.err
    assert fingerprint(tmp_path / "tar") == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--stdin", "--stdin-from-command", "--", "true"], "give one of them"),
        (["--stdin-filename", "x", "/etc"], "give one of them, too"),
        (["--stdin", "/etc"], "leave out '/etc'"),
        (["--stdin", "--exclude", "*.tmp"], "leave them out with --stdin"),
        (["--stdin", "--files-from", "/dev/null"], "leave them out with --stdin"),
        (["--stdin-from-command"], "no command was given"),
        (["--stdin", "--stdin-filename", ".."], "no path for a file"),
        (["--stdin", "--stdin-filename", ""], "an empty path names nothing"),
        (["--stdin-from-command", "--", ""], "an empty path names nothing"),
        (["--stdin-from-command", "--dry-run", "--", "true"], "shows only when it is backed up"),
    ],
)
def test_options_that_make_no_sense_are_refused(cli, repository, arguments, reason):
    assert reason in cli("backup", *arguments, code=2).err
    assert not [one for one in (repository / "snapshots").rglob("*") if one.is_file()]


@pytest.mark.usefixtures("repository")
def test_terminals_and_closed_input_are_no_source(process):
    above, below = pty.openpty()
    try:
        result = process("backup", "--stdin", stdin=below, code=2)
    finally:
        os.close(above)
        os.close(below)
    assert result.err.startswith("backapp: standard input is a terminal; pipe something into it")
    result = process("backup", "--stdin", preexec_fn=lambda: os.close(0), code=2)
    assert "standard input is closed" in result.err


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("to_group", [True, False], ids=["ctrl-c", "signal"])
def test_being_stopped_ends_the_command_too(cli, tmp_path, to_group):
    mark = tmp_path / "pid"
    script = f"echo $$ > {mark}; echo begun; exec sleep 600"
    command = [*PROGRAM, "backup", "--stdin-from-command", "--", "sh", "-c", script]
    os.mkfifo(mark)
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        pid = int(mark.read_text())
        number = signal.SIGINT if to_group else signal.SIGTERM
        (os.killpg if to_group else os.kill)(process.pid, number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors.decode().splitlines()[-1] == "backapp: stopped on request"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert cli("snapshots", "--json").messages == []
