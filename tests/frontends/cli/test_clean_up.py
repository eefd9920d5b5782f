"""How far a prune goes, from text to what the engine is told."""

import os
import re
from pathlib import Path

import click
import pytest

from backapp_cli.clean_up import clean_up_options
from backapp_core.model.repositories import CleanUpOptions
from backapp_core.model.retention import Within


def parsed(*arguments: str) -> CleanUpOptions:
    @click.command
    @clean_up_options
    def command(options: CleanUpOptions) -> CleanUpOptions:
        return options

    return command.main(list(arguments), standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], CleanUpOptions()),
        (["--max-unused", "5%"], CleanUpOptions()),
        (["--max-unused", "12.5%"], CleanUpOptions(max_unused_share=0.125)),
        (["--max-unused", "0"], CleanUpOptions(max_unused_bytes=0)),
        (["--max-unused", "200M"], CleanUpOptions(max_unused_bytes=200 << 20)),
        (["--max-unused", "unlimited"], CleanUpOptions(max_unused_share=1.0)),
        (["--max-repack-size", "1G"], CleanUpOptions(max_repack_bytes=1 << 30)),
        (["--repack-small"], CleanUpOptions(repacks_small=True)),
        (["--keep-delete", "1d12h"], CleanUpOptions(keep_delete=Within(days=1, hours=12))),
    ],
)
def test_options_are_restics_and_so_are_the_defaults(arguments, options):
    assert parsed(*arguments) == options


@pytest.mark.parametrize("text", ["", "100%", "150%", "-1%", "some", "5 percent"])
def test_what_limits_nothing_is_refused(text):
    with pytest.raises(click.BadParameter, match=r"no (part|size)"):
        parsed("--max-unused", text)


@pytest.mark.parametrize("archiver", ["targz"])
def test_a_format_that_cannot_mark_says_so_and_deletes_nothing(cli, kept, repository):
    cli("forget", kept)
    before = sorted(repository.rglob("*"))
    refused = cli("prune", "--keep-delete", "1d", code=2)
    assert "--keep-delete" in refused.err
    assert sorted(repository.rglob("*")) == before


def test_limits_mean_what_restic_means():
    assert CleanUpOptions().unused_limit_bytes(95) == pytest.approx(5)
    assert CleanUpOptions(max_unused_share=1.0).unused_limit_bytes(1) == float("inf")
    assert CleanUpOptions(max_unused_bytes=7).unused_limit_bytes(1000) == 7


def test_what_is_copied_is_not_taken_off_what_is_deleted(cli, tmp_path: Path) -> None:
    repository, source = tmp_path / "repo", tmp_path / "source"
    source.mkdir()
    for name in ("stays", "goes"):
        (source / name).write_bytes(os.urandom(50_000))
    cli("init", "-r", repository)
    cli("backup", source, "-r", repository)
    (source / "goes").unlink()
    cli("backup", source, "-r", repository)
    cli("forget", "--keep-last", "1", "-r", repository)
    options = ("--keep-delete", "1d", "--max-unused", "0")
    done = cli("prune", *options, "-r", repository)
    deleted, copied, *_ = done.out.splitlines()
    assert re.fullmatch(r"deleted \d objects, [\d.]+ K?i?B; \d objects, [\d.]+ KiB stay", deleted)
    assert re.fullmatch(r"copied 4\d\.\d KiB into new objects before", copied)
