"""What stands in the tree, read once."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def modules() -> dict[Path, ast.Module]:
    """The syntax of every module that is installed, by its path below the top."""
    return {
        path.relative_to(ROOT): ast.parse(path.read_bytes())
        for folder in ("src", "frontends")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "__pycache__" not in path.parts
    }
