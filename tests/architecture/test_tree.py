"""The tree of modules: its picture in the documentation, and the size of what stands in it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/architecture.md"
PACKAGES = [
    "src/backapp_core",
    "src/backapp_plugins",
    "frontends/backapp_cli",
    "frontends/backapp_web",
]
LONGEST_MODULE_LINES = 400
BEGIN, END = "<!-- tree: begin -->\n", "<!-- tree: end -->\n"


def modules():
    return sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def purpose_of(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_bytes())) or ""
    return docstring.partition("\n")[0].rstrip(".")


def draw(package: str) -> str:
    """Return the picture of one package: a line per module, with its purpose."""
    rows: list[tuple[str, str]] = []

    def visit(folder: Path, name: str, depth: int) -> None:
        rows.append((f"{'    ' * depth}{name}/", purpose_of(folder / "__init__.py")))
        # What another tool reads from below a package (templates, migrations) may lack an
        # `__init__.py`.
        for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
            if path.is_dir() and (path / "__init__.py").exists():
                visit(path, path.name, depth + 1)
            elif path.suffix == ".py" and path.name != "__init__.py":
                rows.append((f"{'    ' * (depth + 1)}{path.name}", purpose_of(path)))

    visit(ROOT / package, package, 0)
    width = max(len(name) for name, _ in rows) + 2
    return "".join(f"{name:{width}}{purpose}".rstrip() + "\n" for name, purpose in rows)


def picture() -> str:
    return "```text\n" + "\n".join(draw(package) for package in PACKAGES) + "```\n"


def test_tree_in_the_documentation_is_the_tree_on_disk(pytestconfig):
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if pytestconfig.getoption("--rewrite-docs"):
        PAGE.write_text(before + BEGIN + picture() + END + after, encoding="utf-8")
        return
    assert picture() == shown, "run: pytest tests/architecture/test_tree.py --rewrite-docs"


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_short_enough_to_be_read(module):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE_LINES


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is_for(module):
    assert purpose_of(module)


def test_top_level_holds_only_what_belongs_there():
    listed = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    files = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"}
    assert files <= listed
    assert listed - files - {"src", "frontends", "docs", "tests", "requirements.lock"} <= {
        "build",
        "dist",  # what `python -m build` leaves, ignored by git
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_marked_as_typed(package):
    assert (ROOT / package / "py.typed").is_file()
