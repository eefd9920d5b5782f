"""Transcripts in README and tutorial are what the commands really print.

A block in the language ``console`` holds commands after ``$ `` (a line that ends in a backslash
goes on) and what they print. All blocks of a page are run one after the other by one shell in a new
home, in which ``documents`` stands. Identifiers, figures and times differ from run to run and are
compared by their shape; an identifier in a command is replaced by the one that was printed in its
place. ``--rewrite-docs`` writes what the commands print now into the pages.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs/tutorial").glob("*.md")),
    *sorted((ROOT / "docs/how-to").glob("*.md")),
]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)
ID = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b|\b[0-9a-f]{8}\b")
MARK = "--- end of command, exit code "
# A file that changed so shortly before a backup is read again by the next one.
RECENT_SECONDS = 2.1


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


@pytest.fixture(scope="module")
def homes():
    """A home for every page; as near to the root as a person's is, since commands show parents."""
    made = {page: Path(tempfile.mkdtemp(prefix="backapp-home-")) for page in PAGES}
    for home in made.values():
        (home / "documents/photos").mkdir(parents=True)
        (home / "documents/letter.txt").write_text("Dear reader,\n")
        (home / "documents/notes.md").write_text("# Notes\n" * 100)
        (home / "documents/photos/cat.jpg").write_bytes(bytes(range(256)) * 400)
    time.sleep(RECENT_SECONDS)
    yield made
    for home in made.values():
        shutil.rmtree(home)


class Shell:
    """A shell in which a person of the name of "you" types commands."""

    def __init__(self, home: Path, *, on_laptop: bool) -> None:
        self._home = home
        # For a transcript that is kept, the machine gets a name as wide as what stands there.
        renamed = ["unshare", "--uts", "bash", "-c", "hostname laptop && exec bash"]
        self._bash = subprocess.Popen(
            renamed if on_laptop else ["bash"],
            cwd=home,
            env={
                "HOME": str(home),
                "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
                "LC_ALL": "C.UTF-8",
                "TZ": "UTC",
                "USER": "you",
                "PYTHONWARNINGS": "error",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def run(self, command: str) -> tuple[str, int]:
        """Return what a command printed, and its exit code."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\necho '{MARK}'$?\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            before, mark, code = line.partition(MARK)
            lines.append(before)
            if mark:
                return self._anonymous("".join(lines)), int(code)
        raise AssertionError(f"the shell ended within: {command}\n{''.join(lines)}")

    def _anonymous(self, text: str) -> str:
        text = text.replace(str(self._home), "/home/you")
        parent = re.escape(str(self._home.parent))
        text = re.sub(rf"(?<![\w/.]){parent}(?![\w/.-])", "/home", text)
        return re.sub(rf"\b{re.escape(os.uname().nodename)}\b", "laptop", text)

    def close(self) -> None:
        self._bash.communicate()


def shape(text: str) -> list[str]:
    """Return the lines of a transcript with everything replaced that no two runs share."""
    text = ID.sub("ID", text)
    text = re.sub(r"\d+(?:[.,:]\d+)*", "N", text)
    text = re.sub(r"\b(?:[KMGT]i?)?B(/s)?\b", r"B\1", text)
    text = re.sub(r"[-─━═]{3,}", "---", text)
    # Listings are in the order of names, and names hold identifiers.
    return sorted(" ".join(line.split()) for line in text.splitlines() if line.strip())


def needs_restic(page: Path) -> bool:
    return any(command.startswith("restic ") for command, _ in commands_of(page))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.interop] if needs_restic(page) else [])
        for page in PAGES
    ],
    ids=relative,
)
def test_transcript_is_what_the_commands_print(page, homes, pytestconfig):
    rewrites = pytestconfig.getoption("--rewrite-docs")
    shell = Shell(homes[page], on_laptop=rewrites)
    ids: dict[str, str] = {}
    shown: list[tuple[str, str]] = []
    for command, expected in commands_of(page):
        typed = " ".join(ids.get(word, word) for word in command.split(" "))
        printed, code = shell.run(typed)
        assert code == 0, f"$ {typed}\n{printed}"
        if not rewrites:
            assert shape(expected) == shape(printed), f"$ {typed}"
        for old, new in zip(ID.findall(expected), ID.findall(printed), strict=False):
            ids.setdefault(old, new)
        shown.append((typed, printed))
    shell.close()
    if rewrites:
        rewrite(page, shown)


def rewrite(page: Path, shown: list[tuple[str, str]]) -> None:
    outputs = iter(shown)

    def block(match: re.Match[str]) -> str:
        count = len(COMMAND.findall(match[1]))
        pairs = [next(outputs) for _ in range(count)]
        return "```console\n" + "".join(f"$ {typed}\n{said}" for typed, said in pairs) + "```"

    page.write_text(BLOCK.sub(block, page.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-backup.md"])
def test_page_shows_the_main_job_from_beginning_to_end(page):
    commands = [command for command, _ in commands_of(ROOT / page)]
    verbs = {command.split()[1] for command in commands if command.startswith("backapp ")}
    assert {"init", "backup", "snapshots", "restore"} <= verbs
