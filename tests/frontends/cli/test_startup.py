"""What a quick command does not need is not loaded."""

import subprocess
import sys

import pytest

SLOW = {"rich", "cattrs", "sqlalchemy", "alembic", "fsspec", "paramiko", "pyrage", "boto3"}


def _loaded(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


def test_the_version_is_said_without_loading_anything() -> None:
    program = (
        "import sys; sys.argv = ['backapp', '--version']\n"
        "from backapp_cli.__main__ import main; main()"
    )
    assert not _loaded(program) & {*SLOW, "click", "attrs", "backapp_core"}


@pytest.mark.parametrize("arguments", [["--help"], ["backup", "--help"], ["completion", "bash"]])
def test_help_loads_no_plugin_and_nothing_slow(arguments: list[str]) -> None:
    loaded = _loaded(f"from backapp_cli.run import run\nrun({arguments})")
    assert not loaded & SLOW
    assert not {one for one in loaded if one.startswith("backapp_plugins.")}


def test_command_on_plain_archives_loads_nothing_that_other_places_and_formats_need(
    cli, tmp_path
) -> None:
    words = ["-r", str(tmp_path / "repository")]
    cli("init", *words, "--archiver", "targz")
    loaded = _loaded(f"from backapp_cli.run import run\nrun({['snapshots', *words]})")
    assert "backapp_plugins.archivers.targz.repository" in loaded
    assert not loaded & {*SLOW, "numpy", "cryptography", "zstandard", "pyfastcdc", "numba"}


def test_the_version_is_the_same_wherever_it_is_asked_for(cli, process) -> None:
    assert process("--version").out == cli("--version").out == cli("-q", "--version").out
    assert cli("version").out == cli("--version").out
    assert cli("version", "--json").messages[0]["version"] in cli("version").out
