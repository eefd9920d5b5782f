"""Transcripts in README and tutorial are what the commands really print.

A block in the language ``console`` holds commands after ``$ `` (a line that ends in a backslash
goes on) and what they print. All blocks of a page are run one after the other by one shell in a new
home, in which ``documents`` stands. Identifiers, figures and times differ from run to run and are
compared by their shape. ``--rewrite-docs`` writes what the commands print now into the pages.
"""

import os
import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/tutorial").glob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)
MARK = "--- end of command, exit code "


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands_of(page: Path) -> list[tuple[str, str]]:
    """Return every command of a page with what the page says that it prints."""
    found: list[tuple[str, str]] = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        assert block.startswith("$ "), f"a console block of {relative(page)} begins with no command"
        pieces = COMMAND.split(block)[1:]
        found += zip(pieces[::2], pieces[1::2], strict=True)
    return found


def run(commands: list[str], home: Path) -> list[tuple[str, int]]:
    """Run commands in one shell and return what each printed and its exit code."""
    (home / "documents").mkdir(parents=True)
    (home / "documents/letter.txt").write_text("Dear reader,\n")
    (home / "documents/notes.md").write_text("# Notes\n" * 100)
    (home / "documents/photos").mkdir()
    (home / "documents/photos/cat.jpg").write_bytes(bytes(range(256)) * 400)
    script = "".join(f"{command}\necho '{MARK}'$?\n" for command in commands)
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "USER": "you",
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    pieces = re.split(rf"^{MARK}(\d+)\n", done.stdout, flags=re.MULTILINE)
    assert len(pieces) == 2 * len(commands) + 1, done.stdout
    shown = [piece.replace(str(home), "/home/you") for piece in pieces[:-1:2]]
    return list(zip(shown, map(int, pieces[1::2]), strict=True))


def shape(text: str) -> list[str]:
    """Return the lines of a transcript with everything replaced that no two runs share."""
    text = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{8}\b", "ID", text)
    text = re.sub(r"\d+(?:[.,:]\d+)*", "N", text)
    text = re.sub(r"\b(?:[KMGT]i?)?B(/s)?\b", r"B\1", text)
    text = re.sub(r"[-─━═]{3,}", "---", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def anonymous(text: str) -> str:
    return re.sub(rf"\b{re.escape(os.uname().nodename)}\b", "laptop", text)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_transcript_is_what_the_commands_print(page, tmp_path, pytestconfig):
    commands = commands_of(page)
    results = run([command for command, _ in commands], tmp_path / "you")
    shown = [anonymous(printed) for printed, _ in results]
    failed = [
        (command, printed)
        for (command, _), (printed, code) in zip(commands, results, strict=True)
        if code
    ]
    assert failed == []
    if pytestconfig.getoption("--rewrite-docs"):
        rewrite(page, shown)
        return
    for (command, expected), printed in zip_longest(commands, shown):
        assert shape(expected) == shape(printed), f"$ {command}"


def rewrite(page: Path, shown: list[str]) -> None:
    outputs = iter(shown)

    def block(match: re.Match[str]) -> str:
        pieces = COMMAND.split(match[1])[1:]
        return (
            "```console\n" + "".join(f"$ {piece}\n{next(outputs)}" for piece in pieces[::2]) + "```"
        )

    page.write_text(BLOCK.sub(block, page.read_text(encoding="utf-8")), encoding="utf-8")


def test_readme_shows_the_main_job_from_beginning_to_end():
    verbs = [word for command, _ in commands_of(ROOT / "README.md") for word in command.split()[:2]]
    assert {"init", "backup", "snapshots", "restore"} <= set(verbs)


def test_first_tutorial_shows_the_main_job_from_beginning_to_end():
    page = ROOT / "docs/tutorial/first-backup.md"
    verbs = [word for command, _ in commands_of(page) for word in command.split()[:2]]
    assert {"init", "backup", "snapshots", "restore"} <= set(verbs)
