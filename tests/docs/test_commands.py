"""The commands that the README gives to a stranger are those that the pipeline runs."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / ".ci").iterdir())


def readme_command(name: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / ".ci/readme-command"
    return subprocess.run([script, name], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["first-backup", "test"])
def test_command_of_the_readme_is_found_by_its_mark(name):
    done = readme_command(name)
    assert done.returncode == 0, done.stderr
    block = f"<!-- command: {name} -->\n```sh\n{done.stdout}```\n"
    assert block in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["first-backup", "test"])
def test_command_of_the_readme_stands_on_its_first_screen(name):
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines.index(f"<!-- command: {name} -->") < 30


def test_name_that_the_readme_has_not_is_refused():
    done = readme_command("nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the README has no command called so" in done.stderr


def test_first_command_ends_with_a_comparison():
    commands = readme_command("first-backup").stdout
    for word in ("pip install", "backapp init", "job run", "restore", "diff -r"):
        assert word in commands


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_of_the_pipeline_can_be_run(script):
    assert os.access(script, os.X_OK)
    assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tiers_are_named_in_the_contributors_page():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for tier, command in (("test", ".ci/test"), ("ci", ".ci/run"), ("nightly", ".ci/nightly")):
        assert f"| **{tier}** | `{command}`" in page
