"""The two public surfaces, the tree of errors, and the docstrings that a contract consists of."""

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import backapp_core
from backapp_core import errors, plugin_api, server_api

ROOT = Path(__file__).parents[2]
SURFACES_OF_PLUGINS = [plugin_api, server_api]
SURFACES = [backapp_core, *SURFACES_OF_PLUGINS]
PORTS = sorted((ROOT / "src/backapp_core/ports").glob("[a-z]*.py"))
ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.BackappError)
}
FAMILIES = {name: value for name, value in ERRORS.items() if value.__base__ is errors.BackappError}


@pytest.mark.parametrize("module", SURFACES, ids=lambda module: module.__name__)
def test_surface_is_sorted_and_without_duplicates(module):
    assert list(module.__all__) == sorted(set(module.__all__), key=place)


def place(name: str) -> tuple[int, str]:
    """Return what `__all__` is sorted by, as the linter has it: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("module", SURFACES, ids=lambda module: module.__name__)
def test_surface_can_be_imported_as_a_whole(module):
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("module", SURFACES_OF_PLUGINS, ids=lambda module: module.__name__)
def test_plugin_surface_is_complete(module):
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(module.__all__)


def test_host_surface_is_complete():
    # Names that are imported on first use stand in a mapping of the module; what is bound already
    # stands in `vars`.
    public = {
        name
        for name, value in vars(backapp_core).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public <= set(backapp_core.__all__)
    assert set(backapp_core.__all__) >= {
        *("BackappError", "Engine", "Recording", "Settings", "assemble", "load_plugins")
    }


def test_every_name_of_the_host_surface_shows_up_in_dir():
    assert set(backapp_core.__all__) <= set(dir(backapp_core))


def test_every_error_stands_in_the_tree_at_the_top_of_its_module():
    drawn = set(re.findall(r"\b[A-Z]\w+\b", (errors.__doc__ or "").partition("::")[2]))
    assert set(ERRORS) - drawn == set()


def test_every_error_stands_below_its_family_in_the_tree():
    assert parents_in_the_tree() == {
        name: value.__base__.__name__ for name, value in ERRORS.items() if name != "BackappError"
    }


def parents_in_the_tree() -> dict[str, str]:
    drawing = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    parents: dict[str, str] = {}
    family = ""
    for line in textwrap.dedent(drawing).splitlines()[1:]:
        words = re.findall(r"\b[A-Z]\w+\b", re.sub(r"\(.*?\)", "", line))
        if re.match(r" {4}\S", line):
            family, *words = words
            parents[family] = "BackappError"
        parents |= dict.fromkeys(words, family)
    return parents


def test_error_classes_elsewhere_only_refine_a_leaf_of_the_tree(modules):
    # What somebody catches by the tree is caught; the finer class is the business of those modules.
    families = {*FAMILIES, "BackappError"} - {"RunCancelled", "DeliveryError"}
    strays = {
        node.name
        for path, module in modules.items()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
        and path.name != "errors.py"
        and any(isinstance(base, ast.Name) and base.id in families for base in node.bases)
    }
    assert strays == set(), "a new kind of error belongs into errors.py and into its tree"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_errors_has_an_exit_code(name):
    exits = importlib.import_module("backapp_cli.exits")
    tables = [value for value in vars(exits).values() if isinstance(value, dict)]
    listed = {key for table in tables for key in table if inspect.isclass(key)}
    assert FAMILIES[name] in listed, f"{name} is in no table of backapp_cli/exits.py"


@pytest.mark.parametrize("path", PORTS, ids=lambda path: path.name)
def test_everything_public_in_a_port_says_what_it_promises(path):
    assert list(undocumented(ast.parse(path.read_bytes()), path.stem)) == []


def undocumented(node: ast.AST, name: str):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            if not ast.get_docstring(child):
                yield f"{name}.{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from undocumented(child, f"{name}.{child.name}")


@pytest.mark.parametrize("module", SURFACES_OF_PLUGINS, ids=lambda module: module.__name__)
def test_what_a_plugin_may_import_is_documented(module):
    values = {name: getattr(module, name) for name in module.__all__}
    assert [
        name
        for name, value in values.items()
        if inspect.isclass(value) or inspect.isfunction(value)
        if (value.__doc__ or "").strip() in {"", given_by_python(name, value)}
    ] == []


def given_by_python(name: str, value: object) -> str:
    """Return the docstring of a named tuple that nobody has described."""
    return f"{name}({', '.join(getattr(value, '_fields', ()))})"
