"""Shell completion."""

from typing import cast

import click

from backapp_cli.assemble import COMPLETE
from backapp_cli.grammar import Command
from backapp_cli.options import global_options


@click.command(
    cls=Command,
    examples="""
        source <(backapp completion bash)
        backapp completion zsh > ~/.zfunc/_backapp
        backapp completion fish > ~/.config/fish/completions/backapp.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, files, names of jobs, and ids of snapshots and runs. For bash,
    put the first line below into ~/.bashrc. For zsh, write the script to a file in a folder of
    $fpath. For fish, write it as below.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    # The three above are its own.
    found = cast("type[ShellComplete]", get_completion_class(shell))
    root = ctx.find_root()
    script = found(root.command, {}, "backapp", COMPLETE).source()
    # Click's script for fish cuts a word's help at its first comma.
    script = script.replace('string split "," $c', 'string split --max 1 "," $c')
    # Not `Output`: the script is code with control characters of its own, and comes from Click.
    click.echo(script)
