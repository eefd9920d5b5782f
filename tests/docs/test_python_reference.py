"""The reference of the library says what the code says: every public name, and its first words."""

import ast
import re
import textwrap
from pathlib import Path

import backapp_core

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PAGE = ROOT / "docs/reference/python.md"
BEGIN, END = "<!-- python: begin -->\n", "<!-- python: end -->\n"
ELSEWHERE = {"backapp_core.errors": "errors.md", "backapp_core.events": "events.md"}
"""Modules whose names have pages of their own."""
HEADINGS = {
    "Begin": ("assembly", "engine.keys", "settings", "ports.surroundings",
              "model.compressions", "model.rates", "ports.line"),
    "Verbs": ("engine", "engine.results", "engine.upkeep"),
    "What verbs are asked for": (
        "model.requests", "model.snapshots", "model.restores", "model.retention", "model.subsets",
        "model.names",
    ),
    "What verbs give back": (
        "ports.archivers", "model.entries", "model.changes", "model.repositories", "model.repairs",
        "model.copies", "model.diagnoses", "engine.find", "engine.diff", "engine.tag",
        "engine.prune", "engine.restore",
    ),
    "Jobs": ("model.jobs", "model.schedules", "model.runs", "ports.stores"),
}  # fmt: skip


def places() -> dict[str, str]:
    """Return where every public name is defined, by the imports that type checkers see."""
    tree = ast.parse((SOURCE / "backapp_core/__init__.py").read_bytes())
    return {
        name.name: defined_in(node.module, name.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module)
        for name in node.names
        if name.name in backapp_core.__all__
    }


def _is_ours(module: str) -> bool:
    return module.startswith("backapp_core")


def defined_in(module: str, name: str) -> str:
    """Return the module that defines what another one may have imported."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom) and name in [one.name for one in node.names]:
            assert node.module, name
            return defined_in(node.module, name)
    return module


def parsed(module: str) -> ast.Module:
    path = SOURCE / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_bytes())


def lines_of(node: ast.stmt) -> list[str]:
    """Return what a page shows of one definition."""
    if isinstance(node, ast.FunctionDef):
        head = ast.unparse(ast.FunctionDef(node.name, node.args, [], [], node.returns, lineno=0))
        marks = [
            f"@{mark}"
            for mark in map(ast.unparse, node.decorator_list)
            if mark in {"property", "classmethod"}
        ]
        words = words_of(ast.get_docstring(node))
        return [*marks, wrapped(head.strip()), *indented(words or ["..."])]
    if isinstance(node, ast.ClassDef):
        bases = [text for one in node.bases if not (text := ast.unparse(one)).startswith("_")]
        head = f"class {node.name}({', '.join(bases)}):" if bases else f"class {node.name}:"
        return [head, *indented([*words_of(ast.get_docstring(node)), *members(node)])]
    if isinstance(node, ast.AnnAssign):
        value = ast.unparse(node.value) if node.value is not None else ""
        shown = f" = {value}" if value and "field(" not in value else " = ..." if value else ""
        return [f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{shown}"]
    return [ast.unparse(node)]


def members(node: ast.ClassDef) -> list[str]:
    lines: list[str] = []
    before: ast.stmt | None = None
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            lines += ["", *lines_of(item)]
        elif isinstance(item, ast.AnnAssign | ast.Assign):
            lines += lines_of(item)
        elif isinstance(before, ast.AnnAssign | ast.Assign) and isinstance(item, ast.Expr):
            lines += words_of(ast.literal_eval(item.value))
        before = item
    return lines


def words_of(docstring: str | None) -> list[str]:
    """Return the first paragraph of a docstring, as one."""
    if not docstring:
        return []
    first = " ".join(textwrap.dedent(docstring).strip().partition("\n\n")[0].split())
    return textwrap.wrap(f'"""{first}"""', 92)


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in "\n".join(lines).split("\n")]


def wrapped(head: str) -> str:
    """Return the head of a function with one argument per line if it is long."""
    name, _, rest = head.partition("(")
    inside, _, answer = rest.rpartition(") ->")
    parts = re.split(r", (?![^\[(]*[\])])", inside)
    arguments = [re.sub(r"^(\w+: [^=]+)=", r"\1 = ", one) for one in parts]
    line = f"{name}({', '.join(arguments)}) ->{answer}"
    if len(line) <= 92:
        return line
    return "\n".join([f"{name}(", *(f"    {one}," for one in arguments), f") ->{answer}"])


def written() -> str:
    where = places()
    parts: list[str] = []
    for heading, modules in HEADINGS.items():
        parts.append(f"## {heading}\n\n")
        for short in modules:
            module = f"backapp_core.{short}"
            wanted = {name for name, place in where.items() if place == module}
            shown = [node for node in parsed(module).body if name_of(node) in wanted]
            blocks = ["\n".join(lines_of(node)) for node in shown]
            if blocks:
                parts.append("```python\n" + "\n\n\n".join(blocks) + "\n```\n\n")
    # What only checks the values of settings, and what is imported by need, is not of interest.
    return re.sub(r"\b(results\.|_Line\b|_Something\b|_Threads\b)", _plain, "".join(parts))


def _plain(found: re.Match[str]) -> str:
    return {"results.": "", "_Threads": "int"}.get(found[0], "str")


def name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def test_reference_of_the_library_is_what_the_code_says(pytestconfig):
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, after = rest.partition(END)
    if pytestconfig.getoption("--rewrite-docs"):
        PAGE.write_text(before + BEGIN + written() + END + after, encoding="utf-8")
        return
    assert written() == shown, "run: pytest tests/docs/test_python_reference.py --rewrite-docs"


def test_every_public_name_is_in_the_reference():
    text = PAGE.read_text(encoding="utf-8")
    shown = set(re.findall(r"^(?:class |def )?(\w+)(?=[:(= ])", text, re.MULTILINE))
    elsewhere = {name for name, module in places().items() if module in ELSEWHERE}
    assert set(backapp_core.__all__) - elsewhere - shown == {"PluginManager"}
