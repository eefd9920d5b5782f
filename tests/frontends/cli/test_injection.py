"""No name of a file, tag or host can act on the terminal or on the lines of the output."""

import json
import os
import re
from pathlib import Path

import pytest

NASTY = (
    b"\x1b[31mred\x1b[0m",
    b"two\nlines",
    b"back\rward",
    b"bell\x07",
    "rtl\u202egnp.exe".encode(),
    "iso\u2066late".encode(),
    "line\u2028separator".encode(),
    "c1\u009b31m".encode(),
    b"\x9b31m-no-utf8",
    b"[red]markup [bold] :smile: [link=x]y",
    b"-rf",
    b"back\\slash \\x41",
    b"'quote\" $HOME `id` %s {0}",
    b"=1+1",
)
CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udcff]"
)


@pytest.fixture
def hostile(source: Path) -> Path:
    for number, name in enumerate(NASTY):
        Path(os.fsdecode(os.path.join(os.fsencode(source), name))).write_bytes(b"x" * number)
    return source


COMMANDS = [
    ["ls", "latest"],
    ["ls", "-l", "latest"],
    ["find", "*", "-l"],
    ["snapshots"],
    ["diff", "FIRST", "latest"],
    ["forget", "--keep-last", "1", "-n"],
    ["restore", "latest", "-t", "BACK", "-n"],
    ["restore", "latest", "-t", "BACK", "-vv"],
    ["check"],
    ["stats"],
]


@pytest.mark.parametrize("is_json", [False, True], ids=["words", "json"])
def test_output_holds_no_control_characters(
    cli, kept: str, hostile: Path, tmp_path: Path, *, is_json: bool
) -> None:
    host = "h\x1b[2J\u202eost"
    results = [cli("backup", hostile, "--host", host, "-vv", *(["--json"] if is_json else []))]
    results.append(cli("backup", hostile, os.fsdecode(b"/gone/\x1b[31m\n\xff"), code=3))
    for command in COMMANDS:
        words = [{"FIRST": kept, "BACK": str(tmp_path / "back")}.get(one, one) for one in command]
        results.append(cli(*words, *(["--json"] if is_json else [])))
    for result in results:
        assert CONTROL.search(result.out + result.err) is None
        for line in result.out.splitlines() if is_json and "gone" not in result.err else []:
            json.loads(line)


def test_every_entry_is_one_line_and_reads_back(cli, repository, hostile: Path) -> None:
    from backapp_core import from_text

    cli("backup", hostile)
    listed = {from_text(line) for line in cli("ls", "latest", hostile).out.splitlines()}
    in_json = {from_text(one["path"]) for one in cli("ls", "latest", hostile, "--json").of("node")}
    expected = {os.path.join(os.fsencode(hostile), name) for name in NASTY}
    assert expected <= listed
    assert in_json == listed


def test_markup_is_shown_as_it_is(cli, repository, hostile: Path) -> None:
    cli("backup", hostile)
    assert "[red]markup [bold] :smile: [link=x]y" in cli("ls", "latest").out


@pytest.mark.parametrize(
    "command",
    [
        ["ls", "\x1b[31m"],
        ["snapshots", "-r", "/\x1b[31m\u202e"],
        ["job", "show", "\x1b[31m"],
        ["runs", "show", "\u202e"],
        ["init", "--archiver", "\x1b]0;title\x07"],
        ["snapshots", "--\x1b[31m"],
        ["\x1b[31m"],
        ["find", "--snapshot", "\x9b", "*"],
        ["snapshots", "--config", "/\x1b[31m"],
        ["tag", "--add", "a\x1bb", "latest"],
        ["restore", "latest", "-t", "/tmp", "--include", "\x1b[31m\n"],
    ],
)
def test_errors_repeat_nothing_that_acts(cli, kept, command: list[str]) -> None:
    result = cli(*command, code=None)
    assert result.code != 0
    assert CONTROL.search(result.err) is None
    assert result.err.count("\n") == 1


def test_a_host_of_two_lines_stays_in_its_cell(cli, repository, source: Path) -> None:
    cli("backup", source, "--host", "web\n1")
    assert [line for line in cli("snapshots").out.splitlines() if r"  web\x0a1  " in line]
