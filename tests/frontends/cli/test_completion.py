"""Real shells complete commands, options, files and snapshots."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WORDS = (
    ("backapp sna", "snapshots"),
    ("backapp job ed", "edit"),
    ("backapp backup --exclude-c", "--exclude-caches"),
    ("backapp ls --pass", "--password-file"),
    ("backapp completion z", "zsh"),
    ("backapp init --archiver ta", "targz"),
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `backapp` is this program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "backapp").write_text(f'#!/bin/sh\nexec {sys.executable} -m backapp_cli "$@"\n')
    (folder / "backapp").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def _shell(name: str, script: str, environment: dict[str, str], folder: Path) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    done = subprocess.run(
        [name, *flags, "-c", script],
        env=environment,
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def _bash(lines: list[str]) -> str:
    asked = "".join(
        f"COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}; _backapp_completion backapp\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
        for line in lines
    )
    return f"source <(backapp completion bash)\n{asked}"


def _zsh(lines: list[str]) -> str:
    # What the completion system would be told is printed instead.
    asked = "".join(
        f"words=({line}); CURRENT={len(line.split())}; _backapp_completion\n" for line in lines
    )
    return f"""
        autoload -U compinit && compinit -u -D
        compadd() {{ print -l -- "${{(@P)argv[-1]}}" }}
        _describe() {{ print -l -- "${{(@P)3}}" }}
        source <(backapp completion zsh)
        {asked}
    """


def _fish(lines: list[str]) -> str:
    asked = "".join(f"complete --do-complete '{line}'\n" for line in lines)
    return f"backapp completion fish | source\n{asked}"


SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}


@pytest.mark.interop
@pytest.mark.parametrize("shell", SCRIPTS)
def test_words_and_snapshots_are_completed(
    cli, shell: str, kept: str, source: Path, environment, tmp_path: Path
) -> None:
    cli("job", "add", "documents", source)
    cli("job", "run", "documents")
    run = cli("runs", "list", "--json").of("run")[0]["id"][:8]
    asked = [
        *WORDS,
        (f"backapp ls {kept[:3]}", kept[:8]),
        ("backapp job run doc", "documents"),
        ("backapp runs list --job doc", "documents"),
        (f"backapp runs show {run[:3]}", run),
    ]
    script = SCRIPTS[shell]([line for line, _ in asked])
    out = _shell(shell, script, environment, tmp_path)
    assert [word for _, word in asked if word not in out] == []


@pytest.mark.interop
def test_fish_shows_the_whole_help_of_a_word(environment, tmp_path: Path) -> None:
    out = _shell("fish", _fish(["backapp dum"]), environment, tmp_path)
    assert out.strip() == "dump\tWrite a file of a snapshot out, or a folder as a tar archive."


def test_what_cannot_be_looked_up_is_not_completed_and_says_nothing(
    process, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "_BACKAPP_COMPLETE": "bash_complete",
        "COMP_WORDS": f"backapp ls -r {tmp_path}/none ",
        "COMP_CWORD": "4",
    }
    result = process(env=environment)
    assert (result.out.strip(), result.err) == ("", "")


def test_a_shell_that_is_not_known_is_bad_usage(cli) -> None:
    assert "tcsh" in cli("completion", "tcsh", code=2).err
