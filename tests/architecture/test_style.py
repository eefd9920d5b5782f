"""What `docs/style.md` says of names and arguments, as far as it can be counted."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for folder in ("src", "frontends")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
NOBODY_KNEW_WHERE = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
VERBS = {"backup", "diff", "dump", "find", "prune", "restore", "run", "tag", "diagnose"}
MOST_BY_POSITION = 5


def crowded(source: bytes) -> list[str]:
    """Return the functions that take too many arguments by position; tests take fixtures."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("test_")
        and not any("fixture" in ast.unparse(one) for one in node.decorator_list)
        and len([*node.args.posonlyargs, *node.args.args]) - takes_self(node) > MOST_BY_POSITION
    ]


def takes_self(node: ast.FunctionDef) -> bool:
    return bool(node.args.args) and node.args.args[0].arg in {"self", "cls"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_few_arguments_are_given_by_position(path):
    assert crowded(path.read_bytes()) == []


def test_function_with_six_arguments_by_position_is_found():
    assert crowded(b"def f(self, a, b, c, d, e, *, g): ...") == []
    assert crowded(b"def f(a, b, c, d, e, g): ...") == ["f"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_has_a_name_that_says_where_it_belongs(path):
    assert path.stem not in NOBODY_KNEW_WHERE
    assert path.parent.name not in NOBODY_KNEW_WHERE


def test_verbs_have_modules_of_their_names():
    assert {path.stem for path in (ROOT / "src/backapp_core/engine").glob("*.py")} >= VERBS
