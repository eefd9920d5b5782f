"""What is imported when: importing the package, and making an engine, must stay cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import backapp_core


def modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_imports_none_of_its_modules():
    loaded = modules_after("import backapp_core")
    assert "backapp_core" in loaded
    assert {name for name in loaded if name.startswith("backapp_core.")} == set()
    assert "attr" not in loaded


def test_errors_can_be_imported_alone():
    loaded = modules_after("import backapp_core.errors")
    assert {name for name in loaded if name.startswith("backapp_core.")} == {"backapp_core.errors"}


def test_an_engine_is_made_without_most_verbs_and_without_the_plugin_machinery():
    loaded = modules_after("import backapp_core\nbackapp_core.assemble()")
    assert {name for name in loaded if name.startswith("backapp_core.engine.")} == {
        f"backapp_core.engine.{name}"
        for name in ("browse", "places", "results", "selections", "watch", "witness")
    }
    assert loaded & {"pluggy", "importlib.metadata", "tarfile", "socket", "cattrs"} == set()


def test_listing_snapshots_needs_no_other_verb(tmp_path):
    loaded = modules_after(
        "import backapp_core\n"
        f"folder = {str(tmp_path)!r}\n"
        "settings = backapp_core.Settings(state_folder=folder, cache_folder=folder)\n"
        "engine = backapp_core.assemble(settings)\n"
        "keys = backapp_core.Keys(password=lambda: 'secret')\n"
        f"with engine.create_repository({str(tmp_path / 'repo')!r}, keys=keys) as repository:\n"
        "    assert engine.snapshots(repository) == []"
    )
    assert "backapp_core.engine.browse" in loaded
    verbs = {"backup", "diagnose", "diff", "dump", "extract", "find", "prune", "restore", "run"}
    assert loaded & {f"backapp_core.engine.{verb}" for verb in verbs} == set()


def test_every_name_is_found_where_type_checkers_are_told_it_is():
    tree = ast.parse(Path(backapp_core.__file__).read_bytes())
    told = {
        alias.name: statement.module
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert told == backapp_core._PLACE_OF
    assert set(told) == set(backapp_core.__all__)


def test_a_name_is_the_same_object_each_time_and_that_of_its_module():
    from backapp_core.engine import Engine

    assert backapp_core.Engine is backapp_core.Engine is Engine


def test_a_star_brings_every_name():
    bound = {}
    exec("from backapp_core import *", bound)
    assert set(backapp_core.__all__) <= set(bound)


def test_a_name_that_is_not_there_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="'backapp_core' has no attribute 'Motor'"):
        backapp_core.Motor  # noqa: B018  # the look-up is what is tested
