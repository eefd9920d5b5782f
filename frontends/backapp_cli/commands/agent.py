"""This machine as the agent of a server: join it, and work for it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backapp_cli import values
from backapp_cli.assemble import agent_folder
from backapp_cli.exits import ExitCode
from backapp_cli.grammar import Command, Group
from backapp_cli.options import agent_options, global_options, line_options
from backapp_cli.session import Session
from backapp_cli.show import iso_time, table
from backapp_core.errors import InputError
from backapp_core.model.names import to_line, to_text

if TYPE_CHECKING:
    from backapp_core.engine.agent import Agent, AgentStatus
    from backapp_core.engine.agent_policy import Policy
    from backapp_core.model.managed_repositories import ManagedRepository

_PLACES = {
    "enrol": f"{__name__}:enrol",
    "run": f"{__name__}:run",
    "status": f"{__name__}:status",
    "adopt": "backapp_cli.commands.agent_adopt:adopt",
    "sheet": "backapp_cli.commands.agent_sheet:sheet",
    "install": "backapp_cli.commands.agent_service:install",
    "uninstall": "backapp_cli.commands.agent_service:uninstall",
}


@click.group(
    cls=Group,
    places=_PLACES,
    examples="""
        backapp agent enrol https://backup.example.org --token-file token
        backapp agent install
        backapp agent sheet documents
    """,
)
@agent_options
@global_options
def agent() -> None:
    """Let a BackApp server back this machine up.

    The server says what is due; this machine does it, with a password that never leaves it. What a
    server may have it do at most stands in policy.toml, in the agent's folder.
    """


@click.command(
    cls=Command,
    examples="""
        backapp agent enrol https://backup.example.org --token-file token
        backapp agent enrol https://backup.example.org --restore-folder /srv/restored
        backapp agent enrol http://127.0.0.1:8080 --token backapp_enrol_...
    """,
)
@click.argument("url")
@click.option("--token", metavar="TOKEN", help="Enrolment token; asked for if none is given.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=values.PathText(),
    help="File that holds the token, for its owner alone.",
)
@click.option(
    "--backup-root",
    "backup_roots",
    multiple=True,
    metavar="FOLDER",
    type=values.path_bytes,
    help="Let the server back up this folder and nothing else (repeatable).",
)
@click.option(
    "--restore-folder",
    "restore_folders",
    multiple=True,
    metavar="FOLDER",
    type=values.path_bytes,
    help="Let the server restore into this folder (repeatable).",
)
@agent_options
@global_options
@click.pass_obj
def enrol(
    session: Session,
    *,
    url: str,
    token: str | None,
    token_file: str | None,
    backup_roots: tuple[bytes, ...],
    restore_folders: tuple[bytes, ...],
) -> None:
    """Let this machine join the server at URL.

    The token is shown by the server's page of machines, and good for one machine. The key that the
    machine makes stays in the agent's folder. If the command is cut short, give it again.
    """
    from backapp_core.engine.backup import absolute_roots

    policy = _policy(absolute_roots(backup_roots), absolute_roots(restore_folders))
    here = this_agent(session)
    joined = here.enrol(url, _token(session, token, token_file), policy)
    session.output.message(
        "enrolled",
        {"name": joined.name, "tenant": joined.tenant, "agent_id": joined.agent_id, "url": url},
    )
    session.output.remark(f"this machine is enrolled as {joined.name} ({joined.tenant})")
    session.output.remark(f"what the server may have it do stands in {here.policy_file}")
    session.output.remark(
        "start it now with: backapp agent run; for good with: backapp agent install"
    )


@click.command(cls=Command, examples="backapp agent run -v")
@click.option(
    "--at-once",
    metavar="N",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="How many runs go on at the same time.",
)
@click.option(
    "--every",
    "hello_seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 300),
    default=15,
    show_default=True,
    help="How often to be in touch when nothing happens.",
)
@click.option(
    "--lease",
    "lease_seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.5, 3600),
    default=120,
    show_default=True,
    help="How long a run is held without the server.",
)
@agent_options
@line_options
@global_options
@click.pass_obj
def run(session: Session, *, at_once: int, hello_seconds: float, lease_seconds: float) -> None:
    """Work for the server until stopped; what systemd and others start.

    Stopped by a signal, it hands back what it was doing, and the server gives it out again.
    """
    from backapp_core.engine.agent_limits import AgentLimits

    limits = AgentLimits(
        hello_seconds=hello_seconds,
        alive_seconds=4 * hello_seconds,
        lease_seconds=lease_seconds,
        most_runs=at_once,
    )
    with session.stoppable():
        this_agent(session).run(limits)


@click.command(cls=Command, examples="backapp agent status --json")
@agent_options
@global_options
@click.pass_obj
def status(session: Session) -> int:
    """Show as what this machine is enrolled, what it allows, and which repositories it fills.

    Exit code 1 if the server cannot be asked.
    """
    here = this_agent(session)
    found = here.status()
    session.output.message("agent", _fields(here, found))
    session.output.lines(_described(here, found))
    if found.trouble:
        session.output.error(found.trouble, ExitCode.FAILED)
        return ExitCode.FAILED
    return ExitCode.DONE


def this_agent(session: Session) -> "Agent":
    """Return the agent whose folder was chosen.

    Raises:
        InvalidSettings: If the settings file cannot be used.
        PluginError: If a plugin breaks its contract.
    """
    from backapp_core.engine.agent import Agent

    engine = session.engine
    return Agent(engine.plugins, engine.surroundings, agent_folder(session.choices))


def _policy(backup_roots: tuple[bytes, ...], restore_folders: tuple[bytes, ...]) -> "Policy":
    from backapp_core.engine.agent_policy import Policy

    return Policy(backup_roots=backup_roots or None, restore_folders=restore_folders)


def _token(session: Session, token: str | None, file: str | None) -> str:
    if token and file:
        raise InputError("--token and --token-file exclude each other; give one")
    if token:
        return token.strip()
    if file:
        from backapp_core.secret_files import read_secret_file

        return read_secret_file(str(Path(file).expanduser()))
    if not sys.stdin.isatty():
        raise InputError(
            "an enrolment token is needed and there is no terminal to ask on; give --token-file"
        )
    import getpass

    with session.asking():
        try:
            return getpass.getpass("enrolment token: ").strip()
        except EOFError:
            raise InputError("no enrolment token was entered") from None


def _described(here: "Agent", found: "AgentStatus") -> list[str]:
    policy = found.policy
    roots = "anything" if policy.backup_roots is None else _listed(policy.backup_roots)
    targets = f"to {_listed(policy.restore_folders)}" if policy.restore_folders else "nowhere"
    lines = [
        f"machine:    {found.identity.name} ({found.identity.tenant})",
        f"server:     {to_line(found.identity.url)}",
        f"process:    {'running' if found.is_running else 'not running'}",
        f"policy:     {to_line(str(here.policy_file))}",
        f"  backs up: {roots}",
        f"  restores: {targets}",
        f"  commands: {'allowed' if policy.commands else 'refused'}",
    ]
    if found.repositories:
        rows = [(one.name, protection(one), to_line(one.address)) for one in found.repositories]
        lines += ["", *table(("Repository", "State", "Address"), rows)]
    return lines


def protection(repository: "ManagedRepository") -> str:
    """Return in a word or two whether a repository can be had back without this machine."""
    if repository.initialised_at is None:
        return "not created yet"
    return "protected" if repository.is_protected else "UNPROTECTED"


def _listed(paths: tuple[bytes, ...]) -> str:
    return ", ".join(map(to_text, paths)) or "nothing"


def _fields(here: "Agent", found: "AgentStatus") -> dict[str, object]:
    policy = found.policy
    return {
        "name": found.identity.name,
        "tenant": found.identity.tenant,
        "agent_id": found.identity.agent_id,
        "url": found.identity.url,
        "is_running": found.is_running,
        "trouble": found.trouble,
        "policy": {
            "file": str(here.policy_file),
            "backup_roots": None
            if policy.backup_roots is None
            else [to_text(path) for path in policy.backup_roots],
            "restore_folders": [to_text(path) for path in policy.restore_folders],
            "commands": policy.commands,
        },
        "repositories": [
            {
                "id": one.id,
                "name": one.name,
                "address": to_line(one.address),
                "is_local": one.is_local,
                "repository_id": one.repository_id,
                "initialised_at": iso_time(one.initialised_at),
                "is_protected": one.is_protected,
            }
            for one in found.repositories
        ],
    }
