"""What `docs/style.md` says of names and arguments, as far as it can be counted."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOBODY_KNEW_WHERE = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
VERBS = {"backup", "diff", "dump", "find", "prune", "restore", "run", "tag", "diagnose"}
MOST_BY_POSITION = 5


def crowded(module: ast.Module) -> list[str]:
    """Return the functions that take too many arguments by position; tests take fixtures."""
    return [
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("test_")
        and not any("fixture" in ast.unparse(one) for one in node.decorator_list)
        and len([*node.args.posonlyargs, *node.args.args]) - takes_self(node) > MOST_BY_POSITION
    ]


def takes_self(node: ast.FunctionDef) -> bool:
    return bool(node.args.args) and node.args.args[0].arg in {"self", "cls"}


def test_few_arguments_are_given_by_position(modules):
    found = {str(path): crowded(module) for path, module in modules.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_function_with_six_arguments_by_position_is_found():
    assert crowded(ast.parse("def f(self, a, b, c, d, e, *, g): ...")) == []
    assert crowded(ast.parse("def f(a, b, c, d, e, g): ...")) == ["f"]


def test_modules_have_names_that_say_where_they_belong(modules):
    assert [
        str(path)
        for path in modules
        if not NOBODY_KNEW_WHERE.isdisjoint(path.with_suffix("").parts)
    ] == []


def test_verbs_have_modules_of_their_names():
    assert {path.stem for path in (ROOT / "src/backapp_core/engine").glob("*.py")} >= VERBS
