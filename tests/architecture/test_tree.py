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


Modules = dict[Path, ast.Module]


def purpose_of(module: ast.Module) -> str:
    return (ast.get_docstring(module) or "").partition("\n")[0].rstrip(".")


def draw(package: str, modules: Modules) -> str:
    """Return the picture of one package: a line per module, with its purpose."""
    rows: list[tuple[str, str]] = []

    def purpose(path: Path) -> str:
        return purpose_of(modules[path.relative_to(ROOT)])

    def visit(folder: Path, name: str, depth: int) -> None:
        rows.append((f"{'    ' * depth}{name}/", purpose(folder / "__init__.py")))
        # What another tool reads from below a package (templates, migrations) may lack an
        # `__init__.py`.
        for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
            if path.is_dir() and (path / "__init__.py").exists():
                visit(path, path.name, depth + 1)
            elif path.suffix == ".py" and path.name != "__init__.py":
                rows.append((f"{'    ' * (depth + 1)}{path.name}", purpose(path)))

    visit(ROOT / package, package, 0)
    width = max(len(name) for name, _ in rows) + 2
    return "".join(f"{name:{width}}{purpose}".rstrip() + "\n" for name, purpose in rows)


def picture(modules: Modules) -> str:
    return "```text\n" + "\n".join(draw(package, modules) for package in PACKAGES) + "```\n"


def test_tree_in_the_documentation_is_the_tree_on_disk(modules, pytestconfig):
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if pytestconfig.getoption("--rewrite-docs"):
        PAGE.write_text(before + BEGIN + picture(modules) + END + after, encoding="utf-8")
        return
    assert picture(modules) == shown, "run: pytest tests/architecture/test_tree.py --rewrite-docs"


def test_modules_are_short_enough_to_be_read(modules):
    lines = {
        str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in modules
    }
    assert {path: count for path, count in lines.items() if count > LONGEST_MODULE_LINES} == {}


def test_modules_say_what_they_are_for(modules):
    assert [str(path) for path, module in modules.items() if not purpose_of(module)] == []


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
