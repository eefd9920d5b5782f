"""The pages: links lead somewhere, Python compiles, and what is marked as run is run."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from backapp_cli.exits import ExitCode
from backapp_core import errors

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    ]
)
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
RUN = "<!-- run -->\n"
RUN_IN_ORDER = re.compile(r"<!-- run in order -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors_of(page: Path) -> set[str]:
    prose = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def blocks(language: str) -> list[tuple[Path, int, str, bool]]:
    """Return page, line, text and "is marked as run" of every block in ``language``."""
    found: list[tuple[Path, int, str, bool]] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(
            rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL
        ):
            line = text.count("\n", 0, match.start()) + 1
            found.append((page, line, match[1], text[: match.start()].endswith(RUN)))
    return found


def name_of(block: object) -> str:
    page, line, *_ = block  # type: ignore[misc]  # typed as pytest types it
    return f"{relative(page)}:{line}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page):
    prose = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    broken: list[str] = []
    for link in LINK.findall(prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if "docs" in page.parts], ids=relative)
def test_page_can_be_reached_from_the_index(page):
    seen: set[Path] = set()
    waiting = [ROOT / "docs/index.md"]
    while waiting:
        current = waiting.pop()
        if current in seen or current.suffix != ".md":
            continue
        seen.add(current)
        for link in LINK.findall(current.read_text(encoding="utf-8")):
            target = (current.parent / link.partition("#")[0]).resolve()
            if target.is_file():
                waiting.append(target)
    assert page in seen


@pytest.mark.parametrize("block", blocks("python"), ids=name_of)
def test_python_in_a_page_compiles(block):
    page, line, body, _ = block
    compile("\n" * line + body, str(page), "exec")


@pytest.mark.parametrize("block", [block for block in blocks("python") if block[3]], ids=name_of)
def test_python_that_is_marked_as_run_runs(block, tmp_path):
    page, line, body, _ = block
    run_among_documents(body, tmp_path, f"{relative(page)}:{line}")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if RUN_IN_ORDER.search(page.read_text())], ids=relative
)
def test_blocks_of_one_program_run_in_their_order(page, tmp_path):
    blocks_in_order = RUN_IN_ORDER.findall(page.read_text(encoding="utf-8"))
    run_among_documents("\n".join(blocks_in_order), tmp_path, relative(page))


def test_every_block_of_the_page_on_python_is_run():
    page = (ROOT / "docs/how-to/use-from-python.md").read_text(encoding="utf-8")
    assert len(RUN_IN_ORDER.findall(page)) == page.count("```python\n") > 5


def run_among_documents(body: str, folder: Path, name: str) -> None:
    documents = folder / "documents"
    documents.mkdir()
    (documents / "letter.txt").write_text("Dear reader,\n")
    (documents / "notes.md").write_text("# Notes\n" * 100)
    script = folder / "example.py"
    script.write_text(body)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env={"HOME": str(folder / "home"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}\n{done.stdout}{done.stderr}"


def test_something_is_marked_as_run():
    assert [block for block in blocks("python") if block[3] and block[0].name == "README.md"]


def test_library_example_of_the_readme_is_under_fifteen_lines():
    (example,) = [
        body for page, _, body, run in blocks("python") if run and page.name == "README.md"
    ]
    assert len(example.splitlines()) < 15


# --- parts of pages that are written from the code ---


def decisions() -> str:
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    titles = [page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for page in pages]
    return "".join(f"* [{title}]({page.name})\n" for title, page in zip(titles, pages, strict=True))


def error_tree() -> str:
    drawing = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    return "```text\n" + textwrap.dedent(drawing) + "\n```\n"


WRITTEN = {
    "decisions": ("docs/decisions/index.md", decisions),
    "errors": ("docs/reference/errors.md", error_tree),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_part_of_a_page_is_what_the_code_says(name, pytestconfig):
    path, write = WRITTEN[name]
    page = ROOT / path
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name}: begin -->\n")
    shown, end, after = rest.partition(f"<!-- {name}: end -->\n")
    if pytestconfig.getoption("--rewrite-docs"):
        page.write_text(before + begin + write() + end + after, encoding="utf-8")
        return
    assert write() == shown, "run: pytest tests/docs/test_pages.py --rewrite-docs"


def test_exit_codes_in_the_reference_are_those_of_the_command_line():
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    assert sorted(map(int, re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE))) == sorted(
        ExitCode
    )


def test_decisions_are_numbered_without_gap_or_double():
    numbers = [int(page.name[:4]) for page in sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=lambda page: page.stem
)
def test_decision_says_context_decision_and_consequences(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(page.name[:4])}. ")
    assert [
        part for part in ("Context", "Decision", "Consequences") if f"**{part}.**" not in text
    ] == []
