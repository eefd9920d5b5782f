"""Events become a bar, lines or JSON; what is drawn is never on standard output."""

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from backapp_cli.bar import Bar
from backapp_cli.progress import AsJson, Lines, OnTerminal
from backapp_cli.show import Output, width
from backapp_core.events import FileDone, Level, LogLine, Problem, Progress, Verb


def _progress(**facts: object) -> Progress:
    given = {"verb": Verb.BACKUP, "files_done": 5, "bytes_done": 512, **facts}
    return Progress(**given)  # type: ignore[arg-type]  # fields by name


def _output(*, is_json: bool = False) -> Output:
    output = Output()
    output.is_json = is_json
    return output


def test_lines_tell_problems_and_warnings_on_standard_error(capsys) -> None:
    sink = Lines(_output(), 0)
    for event in (
        _progress(),
        Problem(Verb.BACKUP, b"/a\x1b", "cannot be read"),
        LogLine(Level.WARNING, "no room for the cache"),
        LogLine(Level.INFO, "quiet"),
        FileDone(Verb.BACKUP, b"/a", "new", 1),
    ):
        sink(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "/a\\x1b: cannot be read\nwarning: no room for the cache\n"


def test_lines_tell_more_when_asked(capsys, monkeypatch) -> None:
    now = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    sink = Lines(_output(), 2)
    for _ in range(3):
        sink(_progress(bytes_total=1024, problems=2))
    sink(LogLine(Level.DEBUG, "details"))
    sink(FileDone(Verb.BACKUP, b"/a", "new", 1))
    out, err = capsys.readouterr()
    assert err == "backup: 5 files, 512 B of 1.0 KiB, 2 errors\ndetails\n"
    assert out == "new         /a\n"


def test_programs_get_status_now_and_then(capsys, monkeypatch) -> None:
    now = iter([0.0, 0.1, 0.6, 0.7])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    sink = AsJson(_output(is_json=True), 2)
    for _ in range(3):
        sink(_progress(bytes_total=1024, files_total=10, current=b"/x\xff"))
    sink(Problem(Verb.RESTORE, b"/a", "cannot be read"))
    sink(LogLine(Level.INFO, "hello"))
    sink(FileDone(Verb.RESTORE, b"/a", "restored", 7))
    status, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert status == {
        "message_type": "status",
        "action": "backup",
        "files_done": 5,
        "bytes_done": 512,
        "error_count": 0,
        "current_files": ["/x\\xff"],
        "total_files": 10,
        "total_bytes": 1024,
        "percent_done": 0.5,
    }
    assert [one["message_type"] for one in others] == ["error", "log", "verbose_status"]
    assert others[0]["during"] == "restore"


def test_a_total_that_nobody_knows_is_found_out_once(monkeypatch) -> None:
    shown: list[Progress] = []
    asked = threading.Event()
    monkeypatch.setattr(Bar, "show", lambda self, event: shown.append(event))
    monkeypatch.setattr("backapp_cli.progress._BAR_AFTER_SECONDS", -1.0)

    def estimate() -> int:
        assert not asked.is_set()
        asked.set()
        return 4096

    sink = OnTerminal(_output(), 0, estimate)
    sink(_progress())
    assert asked.wait(30)
    while shown[-1].bytes_total is None:
        sink(_progress())
    sink(_progress(bytes_total=7))
    sink.pause()
    assert [shown[-2].bytes_total, shown[-1].bytes_total] == [4096, 7]


def test_what_is_over_at_once_draws_no_bar(capsys) -> None:
    sink = OnTerminal(_output(), 0)
    sink(_progress())
    sink.pause()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("total", [None, 2048, 100])
@pytest.mark.parametrize("current", [b"", b"/a" * 150, "/漢字".encode() * 50, b"/[red]x\x1b[31m"])
def test_the_bar_fits_its_terminal(columns: int, total: int | None, current: bytes) -> None:
    bar = Bar()
    bar.show(_progress(bytes_total=total, current=current, problems=3, files_done=123456))
    bar.remark = "stopping cleanly; press Ctrl-C again to stop at once"
    bar.close()
    console = Console(width=columns, record=True, file=io.StringIO(), markup=False)
    console.print(bar)
    lines = console.export_text().splitlines()
    assert len(lines) == 3
    assert "…" not in lines[0], "a field that does not fit is left out as a whole"
    assert all(width(line) <= columns for line in lines)
    assert "\x1b" not in "".join(lines)
    if columns >= 80:
        assert "/s" in lines[0]
        assert "123,456 files  3 errors" in lines[1]


def _on_terminal(
    arguments: list[str | Path], columns: int = 80, fed_until: str = ""
) -> tuple[str, bytes, int]:
    """Run the program on a terminal; return what that shows, standard output and the code.

    Its standard input is endless until the terminal shows ``fed_until``, and empty without one.
    """
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "backapp_cli", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "LINES": "24"},
    )
    os.close(follower)
    is_seen = threading.Event()
    feeding = threading.Thread(target=_feed, args=(child.stdin, is_seen))
    if not fed_until:
        is_seen.set()
    feeding.start()
    shown = bytearray()
    while child.poll() is None or select.select([leader], [], [], 0)[0]:
        if select.select([leader], [], [], 0.05)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:
                break
        if fed_until.encode() in shown:
            is_seen.set()
    is_seen.set()
    feeding.join()
    assert child.stdout is not None
    with child.stdout:
        out = child.stdout.read()
    os.close(leader)
    return shown.decode("utf-8", "replace"), out, child.wait()


def _feed(pipe: IO[bytes] | None, is_seen: threading.Event) -> None:
    assert pipe is not None
    noise = os.urandom(1 << 20)
    with suppress(BrokenPipeError), pipe:
        while not is_seen.is_set():
            pipe.write(noise)


def test_a_terminal_sees_what_went_wrong_and_no_escapes_elsewhere(
    cli, repository, source: Path, tmp_path: Path
) -> None:
    shown, out, code = _on_terminal(["backup", source, tmp_path / "gone"])
    assert code == 3
    assert b"\x1b" not in out
    assert f"{tmp_path}/gone: " in re.sub(r"\s*\r\n", "", shown)


def test_a_terminal_sees_a_bar_and_gets_its_cursor_back(cli, repository) -> None:
    name = "/noise.bin"
    backup = ["backup", "--stdin", "--stdin-filename", name]
    shown, out, code = _on_terminal(backup, fed_until="MiB/s")
    assert code == 0
    assert b"\x1b" not in out
    assert name in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_quiet_draws_nothing_on_a_terminal(cli, repository, source: Path) -> None:
    shown, _, code = _on_terminal(["backup", source, "-q"])
    assert (shown, code) == ("", 0)


@pytest.mark.parametrize("verb", [Verb.PRUNE, Verb.COPY])
def test_what_moves_no_files_counts_none(verb: Verb, capsys, monkeypatch) -> None:
    event = Progress(verb, files_done=0, bytes_done=512, bytes_total=1024, current=b"1a2b3c4d")
    bar = Bar()
    bar.show(event)
    bar.close()
    console = Console(width=80, record=True, file=io.StringIO(), markup=False)
    console.print(bar)
    first, second = console.export_text().splitlines()
    assert first.startswith(f"{verb}  ")
    assert "512 B of 1.0 KiB" in first
    assert second.split() == ["1a2b3c4d"]
    now = iter([0.0, 11.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    Lines(_output(), 1)(event)
    assert capsys.readouterr().err == f"{verb}: 512 B of 1.0 KiB\n"


def test_a_terminal_sees_how_far_a_prune_and_a_copy_are(
    cli, kept: str, source: Path, tmp_path: Path, monkeypatch
) -> None:
    drawn: list[Progress] = []
    monkeypatch.setattr(Bar, "show", lambda self, event: drawn.append(event))
    monkeypatch.setattr("backapp_cli.progress._BAR_AFTER_SECONDS", -1.0)
    (source / "todo").unlink()
    cli("backup", source)
    other = tmp_path / "other"
    cli("init", "-r", other)
    monkeypatch.setattr("backapp_cli.assemble.has_terminal", lambda choices: True)
    monkeypatch.setenv("BACKAPP_FROM_PASSWORD", os.environ["BACKAPP_PASSWORD"])
    cli("copy", "--from-repo", os.environ["BACKAPP_REPOSITORY"], "-r", other)
    copied = [one for one in drawn if one.verb is Verb.COPY]
    assert {one.current.decode() for one in copied} > {kept[:8]}
    assert copied[-1].bytes_done == copied[-1].bytes_total
    shown = cli("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    pruned = [one for one in drawn if one.verb is Verb.PRUNE]
    assert pruned[0].bytes_total is None
    assert pruned[-1].bytes_done == pruned[-1].bytes_total > 0
    assert "into new objects before" in shown.out
