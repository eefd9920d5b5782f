"""What people install: everything that is needed at run time, and nothing of ours that is not."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "backapp_core": "src",
    "backapp_plugins": "src",
    "backapp_cli": "frontends",
    "backapp_web": "frontends",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_holds_every_file_of_the_package(wheel, package):
    home = ROOT / PACKAGES[package]
    on_disk = {
        str(path.relative_to(home))
        for path in (home / package).rglob("*")
        if path.is_file() and not re.search(r"/(__pycache__|\.\w+_cache)/", str(path))
    }
    assert on_disk <= set(wheel.namelist())
    assert f"{package}/py.typed" in on_disk


def test_wheel_holds_no_tests_and_no_documentation(wheel):
    heads = {name.partition("/")[0] for name in wheel.namelist()}
    assert heads == {*PACKAGES, f"backapp-{PROJECT['version']}.dist-info"}


def test_wheel_holds_the_migrations_of_the_store(wheel):
    migrations = [
        name
        for name in wheel.namelist()
        if name.startswith("backapp_plugins/stores/sql/migrations/")
    ]
    assert any(name.endswith("/env.py") for name in migrations)
    assert any("/versions/" in name and name.endswith(".py") for name in migrations)


def test_wheel_announces_the_plugins_and_the_command(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    text = wheel.read(name).decode()
    for point, module in PROJECT["entry-points"]["backapp"].items():
        assert f"{point} = {module}\n" in text + "\n"
    assert "backapp = backapp_cli.__main__:main" in text


def test_wheel_carries_the_licence_and_every_extra(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    metadata = message_from_string(wheel.read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]


def test_extra_all_takes_every_other_extra_but_those_for_tests():
    extras = dict(PROJECT["optional-dependencies"])
    (everything,) = extras.pop("all")
    assert any(line.startswith("backapp[all]") for line in extras.pop("dev"))
    extras.pop("browser")
    assert sorted(everything.removeprefix("backapp[").removesuffix("]").split(",")) == sorted(
        extras
    )
