"""The command `backapp`: which commands there are, and where."""

import click

from backapp_cli import foreign
from backapp_cli.grammar import Group
from backapp_cli.options import global_options, line_options, repository_options

_COMMANDS = "backapp_cli.commands"

CONTRIBUTED = "backapp.commands"
"""Entry-point group of commands that other packages bring, such as the web door's."""

PLACES = {
    "init": f"{_COMMANDS}.repositories:init",
    "backup": f"{_COMMANDS}.backup:backup",
    "snapshots": f"{_COMMANDS}.snapshots:snapshots",
    "ls": f"{_COMMANDS}.browse:ls",
    "find": f"{_COMMANDS}.browse:find",
    "diff": f"{_COMMANDS}.browse:diff",
    "restore": f"{_COMMANDS}.restore:restore",
    "dump": f"{_COMMANDS}.dump:dump",
    "check": f"{_COMMANDS}.repositories:check",
    "forget": f"{_COMMANDS}.forget:forget",
    "prune": f"{_COMMANDS}.forget:prune",
    "tag": f"{_COMMANDS}.snapshots:tag",
    "stats": f"{_COMMANDS}.stats:stats",
    "mount": f"{_COMMANDS}.mount:mount",
    "copy": f"{_COMMANDS}.copy:copy",
    "repair": f"{_COMMANDS}.repair:repair",
    "recover": f"{_COMMANDS}.repair:recover",
    "key": f"{_COMMANDS}.keys:key",
    "unlock": f"{_COMMANDS}.objects:unlock",
    "cat": f"{_COMMANDS}.objects:cat",
    "job": f"{_COMMANDS}.jobs:job",
    "runs": f"{_COMMANDS}.runs:runs",
    "agent": f"{_COMMANDS}.agent:agent",
    "plugins": f"{_COMMANDS}.plugins:plugins",
    "doctor": f"{_COMMANDS}.doctor:doctor",
    "completion": f"{_COMMANDS}.completion:completion",
    "version": f"{_COMMANDS}.version:version",
}


@click.group(
    cls=Group,
    name="backapp",
    places=PLACES,
    contributed=CONTRIBUTED,
    foreign=foreign.COMMANDS,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    examples="""
        backapp init -r /srv/backup
        backapp backup ~/Documents -r /srv/backup
        backapp snapshots -r /srv/backup
        backapp restore latest --target /tmp/back -r /srv/backup
    """,
)
@click.version_option(package_name="backapp", prog_name="backapp", message="%(prog)s %(version)s")
@repository_options
@line_options
@global_options
def backapp() -> None:
    """Back folders up and get them back: incremental, in formats that other tools open.

    A repository is where snapshots are kept; name it with -r or in $BACKAPP_REPOSITORY. Every
    command explains itself: backapp COMMAND --help.
    """
