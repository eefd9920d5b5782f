"""Every role has its page and kit; built-in plugins come as strangers' do, and pass the kit."""

import ast
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPECIFICATIONS = (ROOT / "src/backapp_core/hookspecs.py").read_text(encoding="utf-8")
HOOKS = {
    node.name: node for node in ast.parse(SPECIFICATIONS).body if isinstance(node, ast.FunctionDef)
}
ROLES = [name.removeprefix("backapp_").removesuffix("s") for name in HOOKS]
ENTRY_POINTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "entry-points"
]["backapp"]
HEADINGS = ["Purpose", "Hook", "Contract", "Settings", "Errors", "Conformance"]
BEGIN, END = "<!-- signatures: begin -->\n", "<!-- signatures: end -->\n"


def classes_of(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef)]


def signature(node: ast.FunctionDef, source: str) -> str:
    """Return the head of a function as it stands in its file; of decorators only `property`."""
    head = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
    text = re.sub(r":\s*(#.*)?$", ": ...", textwrap.dedent("\n".join(head)))
    is_property = "property" in [ast.unparse(decorator) for decorator in node.decorator_list]
    return f"@property\n{text}" if is_property else text


def described(node: ast.ClassDef, source: str) -> str:
    """Return a class as a page shows it: its attributes, and the methods to write."""
    attributes = [
        ast.get_source_segment(source, item) or ""
        for item in node.body
        if isinstance(item, ast.AnnAssign)
    ]
    methods = [
        signature(item, source)
        for item in node.body
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")
    ]
    gap = [""] if attributes and methods else []
    body = "\n".join([*attributes, *gap, *methods] or ["..."])
    return f"class {node.name}:\n" + textwrap.indent(body, "    ") + "\n"


def signatures(role: str) -> str:
    hook = signature(HOOKS[f"backapp_{role}s"], SPECIFICATIONS)
    source = (ROOT / f"src/backapp_core/ports/{role}s.py").read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    shown = [described(node, source) for node in classes if not node.name.startswith("_")]
    return "```python\n" + "\n\n".join([f"{hook}\n", *shown]) + "```\n"


@pytest.mark.parametrize("role", ROLES)
def test_role_has_a_page_with_its_signatures(role, pytestconfig):
    page = ROOT / f"docs/reference/roles/{role}.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if pytestconfig.getoption("--rewrite-docs"):
        page.write_text(before + BEGIN + signatures(role) + END + after, encoding="utf-8")
        return
    assert signatures(role) == shown, (
        "run: pytest tests/architecture/test_plugins.py --rewrite-docs"
    )


@pytest.mark.parametrize("role", ROLES)
def test_page_of_a_role_has_the_same_headings_as_all(role):
    lines = (ROOT / f"docs/reference/roles/{role}.md").read_text(encoding="utf-8").splitlines()
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS


def test_there_are_six_roles():
    assert ROLES == ["scanner", "archiver", "transport", "scheduler", "notifier", "store"]


@pytest.mark.parametrize("role", ROLES)
def test_role_has_a_conformance_kit(role):
    kit = ROOT / f"src/backapp_core/testing/{role}_contract.py"
    contracts = [node for node in classes_of(kit) if node.name.endswith("Contract")]
    assert contracts
    claims = [
        item.name
        for node in contracts
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name.startswith("test_")
    ]
    assert len(claims) >= 5, "a kit that claims next to nothing proves next to nothing"


@pytest.mark.parametrize("role", ROLES)
def test_role_has_a_built_in_plugin(role):
    assert [name for name in ENTRY_POINTS if name.startswith(f"{role}s.")]


def test_every_built_in_plugin_is_an_entry_point():
    folder = ROOT / "src/backapp_plugins"
    marked = {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in folder.rglob("*.py")
        if any(
            isinstance(node, ast.FunctionDef) and node.name in HOOKS
            for node in ast.parse(path.read_bytes()).body
        )
    }
    assert marked == set(ENTRY_POINTS.values())


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_point_is_named_after_its_role_and_kind(name):
    role, _, _ = name.partition(".")
    assert ENTRY_POINTS[name].startswith(f"backapp_plugins.{role}.")


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_built_in_plugin_is_tested_with_the_kit_of_its_role(name):
    role = name.partition(".")[0].removesuffix("s")
    tests = (ROOT / f"tests/plugins/{role}s").rglob("test_*.py")
    inheriting = [
        path for path in tests if inherits_kit(path, role) and uses(path, ENTRY_POINTS[name])
    ]
    assert inheriting, f"no test in tests/plugins/{role}s inherits the {role} contract for {name}"


KITS = {"store": ("store_contract", "work_contract")}
"""Of roles whose plugins may be good for one thing and not for another."""


def inherits_kit(path: Path, role: str) -> bool:
    tree = ast.parse(path.read_bytes())
    kit = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("backapp_core.testing.")
        and (node.module or "").endswith(KITS.get(role, (f"{role}_contract",)))
        for alias in node.names
    }
    return any(
        isinstance(base, ast.Name) and base.id in kit
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        for base in node.bases
    )


def uses(path: Path, module: str) -> bool:
    """Say whether a test, or the fixtures beside it, imports a plugin."""
    imported: set[str] = set()
    sources = [one.read_bytes() for one in (path, path.parent / "conftest.py") if one.exists()]
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return any(name == module or name.startswith(f"{module}.") for name in imported)
