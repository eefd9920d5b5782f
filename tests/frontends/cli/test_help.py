"""Every command explains itself, and the reference is what the commands say."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from backapp_cli import foreign
from backapp_cli.main import backapp

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"

HEAD = """# Command line

What follows is what `backapp COMMAND --help` says; a test keeps the two equal.
How to name a repository and its keys, the settings file, and exit codes stand at the end.

"""

TAIL = """## Repository and keys

The repository is the one that `--repo` names,
else `$BACKAPP_REPOSITORY` or `$RESTIC_REPOSITORY`,
else what stands in the file `$BACKAPP_REPOSITORY_FILE` or `$RESTIC_REPOSITORY_FILE`,
else `repository` in the settings file.
The password comes from `--password-file` or `--password-command`,
else from `$BACKAPP_PASSWORD`, `$BACKAPP_PASSWORD_FILE` or `$BACKAPP_PASSWORD_COMMAND`,
else from the same with `RESTIC_`, else from the settings file,
else a person at the terminal is asked.
Space around it is dropped, as restic does.
A password command runs without a shell.
age identities come from `--identity-file`,
else `$BACKAPP_IDENTITY_FILE` (several are separated by `:`),
else from the settings file.

## Settings file

`--config FILE`, else `$BACKAPP_CONFIG`, else `backapp.toml` in the user's folder for configuration
(`~/.config/backapp/` on Linux). What it may hold stands in [Settings](settings.md).

## Limits of the line

`--limit-upload` and `--limit-download`, else `$BACKAPP_LIMIT_UPLOAD` and `$BACKAPP_LIMIT_DOWNLOAD`,
else `limit_upload` and `limit_download` in the settings file.
A number is KiB a second, as in restic; `2M` and `1.5 MiB/s` say what they mean;
`0` is no limit, whatever the settings file says.
The limit is one for all that a command, or an agent, sends or fetches at the same time;
with `copy` it is one for both repositories together.
Contents are counted; names, listings and what protocols add are not
(beside packs they are less than a percent).
A repository in a folder of this machine is not limited,
nor one on a network drive that is mounted as a folder.
Contents go evenly, what an eighth of a second carries at once;
to addresses that only fsspec opens, its libraries send some MiB at once.

## Exit codes

| code | means |
|---|---|
| 0 | done |
| 1 | failed; also a restore that is not complete and a check that finds damage |
| 2 | bad usage or configuration; nothing was changed |
| 3 | done, but some entries of the source could not be read |
| 10 | no repository at the address |
| 11 | the repository is locked, also after as long as `--retry-lock` says |
| 12 | wrong password or identity, or none |
| 129 | hung up (SIGHUP; ignored under `nohup`) |
| 130 | interrupted (Ctrl-C) |
| 141 | whoever read the output went away |
| 143 | terminated (SIGTERM) |

The first signal lets the run stop cleanly: nothing is left half done,
and what was acknowledged before stays.
A second signal ends the program at once; the next run copes with what that leaves behind.

## Output for programs

With `--json` every line of standard output is one JSON object with a `message_type`.
Paths are text in which the backslash, and everything but printable Unicode,
is written as `\\xNN` per byte.
Times are ISO 8601. A command that fails writes `exit_error` with `code` and `message`,
and the same sentence to standard error.
While a backup runs there are `status` messages, twice a second at most,
and an `error` per unreadable entry;
`summary` comes last.

## For those who know restic

Commands, options, variables and exit codes are restic's where there is a counterpart.
Not there yet:

| restic | here |
|---|---|
| `--no-lock` | not needed: a repository that cannot be written is read without a lock |
| `--compression` | the same, of `backup` and `copy`; for good in the settings file |
| `--pack-size` | nothing; packs have 16 MiB |
| `--limit-upload`, `--limit-download` | the same, also `2M`; for good in the settings file |
| `--no-cache` | `--cache-dir` with a folder that you throw away |
| `--repository-file` | `$BACKAPP_REPOSITORY_FILE` |
| `backup --skip-if-unchanged` | the same; what lies above the given paths does not count |
| `backup --ignore-inode`, `--ignore-ctime` | a file of which only that differs is read again |
| `backup --time`, `--with-atime` | nothing; a snapshot is of the time at which it was begun |
| `restore --verify` | contents are verified while they are written |
| `restore --delete` | nothing; entries that the snapshot lacks stay |
| `find --newest`, `--oldest`, `--blob`, `--tree`, `--pack` | nothing |
| `dump --archive zip` | `dump`, which writes tar |
| lists, such as `snapshots --json` | one object per line; `jq -s .` makes a list |
| `rebuild-index` | `repair index` |
| `migrate` | `copy` into a new repository |
| `rewrite`, `list` | nothing |
"""


def _commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            inner = click.Context(below, info_name=name, parent=context)
            yield from _commands(below, inner)


def _all() -> list[tuple[click.Command, click.Context]]:
    settings = {**backapp.context_settings, "terminal_width": 80}
    root = click.Context(backapp, info_name="backapp", **settings)
    return list(_commands(backapp, root))


ALL = _all()


@pytest.mark.parametrize(
    ("command", "context"), ALL, ids=[context.command_path for _, context in ALL]
)
def test_every_command_has_help_with_an_example(
    command: click.Command, context: click.Context
) -> None:
    assert command.help
    text = command.get_help(context)
    assert "Examples:" in text
    examples = text.partition("Examples:\n")[2].splitlines()
    assert any(line.strip().startswith(("backapp", "source <(backapp")) for line in examples)
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [one.name for one in options if not one.help] == []


@pytest.mark.parametrize(
    ("command", "context"), ALL, ids=[context.command_path for _, context in ALL]
)
def test_help_fits_a_terminal_but_for_examples(
    command: click.Command, context: click.Context
) -> None:
    text = command.get_help(context).partition("Examples:")[0]
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_every_short_help_is_whole() -> None:
    for command, context in ALL:
        listing = command.get_help(context).partition("Commands:")[2].partition("Options:")[0]
        assert "..." not in listing


def test_commands_have_names_of_their_own_for_all_parameters() -> None:
    for command, _ in ALL:
        names = [param.name for param in command.params]
        flags = [flag for param in command.params for flag in (*param.opts, *param.secondary_opts)]
        assert len(flags) == len(set(flags)), command.name
        assert len(names) == len(set(names)), command.name


def test_the_reference_is_what_the_commands_say(request: pytest.FixtureRequest) -> None:
    sections = []
    for command, context in ALL:
        sections.append(
            f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
        )
    text = HEAD + "\n".join(sections) + "\n" + TAIL
    if request.config.getoption("--rewrite-docs"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "run pytest --rewrite-docs"


def test_help_names_options_and_no_arguments_among_them() -> None:
    for command, context in ALL:
        options = command.get_help(context).partition("\nOptions:\n")[2].partition("\n\n")[0]
        assert all(
            line.lstrip().startswith("-")
            for line in options.splitlines()
            if line.startswith("  ") and not line.startswith("   ")
        ), command.name


def test_command_of_another_package_looks_like_the_others() -> None:
    text = {context.command_path: command.get_help(context) for command, context in ALL}
    shared = text["backapp plugins"].partition("Global options:")[2].partition("Examples:")[0]
    assert shared.strip()
    assert shared in text["backapp serve"]


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (["checks"], "no such command 'checks' (did you mean 'check'?); see: backapp --help"),
        (["job", "ad"], "no such command 'ad' (did you mean 'add'?); see: backapp job --help"),
        (["rebuild-index"], "no such command 'rebuild-index'; here it is 'backapp repair index';"),
        (["xyzzy"], "no such command 'xyzzy'; see: backapp --help"),
        (["backup", "--exlude-file", "x"], "(did you mean '--exclude' or '--exclude-file'"),
        (["check", "--no-lock"], "no such option '--no-lock'; not needed: a repository that"),
    ],
)
def test_what_is_not_there_is_answered_with_what_may_be_meant(cli, typed, answer) -> None:
    assert answer in cli(*typed, code=2).err


def test_what_others_call_something_is_not_called_so_here() -> None:
    names = {context.info_name for _, context in ALL if context.parent is ALL[0][1]}
    assert names.isdisjoint(foreign.COMMANDS)
    for text in foreign.COMMANDS.values():
        named = re.findall(r"'backapp ([a-z]+)", text)
        assert names.issuperset(named), text
    options = {flag for command, _ in ALL for param in command.params for flag in param.opts}
    assert options.isdisjoint(foreign.OPTIONS)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_a_result(cli, flag: str) -> None:
    assert "Usage: backapp" in cli(flag).out
    assert "Usage: backapp job add" in cli("job", "add", flag).out


def test_nothing_at_all_shows_the_help_and_is_bad_usage(cli) -> None:
    result = cli(code=2)
    assert result.out == ""
    assert "Usage: backapp" in result.err
    assert cli("job", code=2).err.startswith("Usage: backapp job")
