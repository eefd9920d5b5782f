"""The agent as a service: written for systemd, launchd or Windows' scheduler."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backapp_cli.assemble import agent_folder
from backapp_cli.grammar import Command
from backapp_cli.options import agent_options, global_options
from backapp_cli.session import Session

if TYPE_CHECKING:
    from backapp_core.engine.agent_service import Service

_F = TypeVar("_F", bound=Callable[..., Any])
_STARTERS = ("systemd", "launchd", "windows")


def _service_options(function: _F) -> _F:
    return click.option(
        "--user", "is_user", is_flag=True, help="For this user only, not for the machine."
    )(
        click.option(
            "--for",
            "starter",
            type=click.Choice(_STARTERS),
            help="What starts it (default: what this system has).",
        )(function)
    )


@click.command(
    cls=Command,
    examples="""
        backapp agent install
        backapp agent install --user
        backapp agent install --for launchd --print
    """,
)
@_service_options
@click.option("--print", "prints", is_flag=True, help="Show what would be written, and where.")
@agent_options
@global_options
@click.pass_obj
def install(session: Session, *, is_user: bool, starter: str | None, prints: bool) -> None:
    """Describe the agent to what starts programs here, so that it runs from the next boot on.

    Nothing is started: the commands that do so are shown.
    """
    from backapp_core.engine import agent_identity, agent_service

    found = _service(session, starter, is_user)
    if prints:
        session.output.message("service", _fields(found))
        if not session.output.is_quiet:
            session.output.note(f"{found.path}:")  # beside the result, which may go to a file
        session.output.lines([_indented(line) for line in found.text.splitlines()])
        return
    agent_identity.load(agent_folder(session.choices))
    agent_service.install(found)
    session.output.message("service", _fields(found))
    session.output.remark(f"wrote {found.path}; start it with:")
    session.output.lines([f"  {command}" for command in found.begin])


@click.command(cls=Command, examples="backapp agent uninstall --user")
@_service_options
@agent_options
@global_options
@click.pass_obj
def uninstall(session: Session, *, is_user: bool, starter: str | None) -> None:
    """Remove the description that 'agent install' wrote; enrolment, keys and backups stay."""
    from backapp_core.engine import agent_service

    found = _service(session, starter, is_user)
    was_there = agent_service.uninstall(found)
    session.output.message("service", {**_fields(found), "was_there": was_there})
    if not was_there:
        session.output.remark(f"{found.path} is not there")
        return
    session.output.remark(f"removed {found.path}; if it runs still, stop it with:")
    session.output.lines([f"  {command}" for command in found.end])


def _service(session: Session, starter: str | None, is_user: bool) -> "Service":
    from backapp_core.engine.agent_service import Starter, describe

    wanted = starter or {"darwin": "launchd", "win32": "windows"}.get(sys.platform, "systemd")
    name = f"{wanted}-user" if is_user and wanted != "windows" else wanted
    folder = agent_folder(session.choices).absolute()
    config = session.choices.config
    command = [
        *_program(),
        "-v",
        "agent",
        "run",
        "--agent-dir",
        str(folder),
        *(["--config", str(Path(config).absolute())] if config else []),
    ]
    return describe(Starter(name), command, home=Path.home(), folder=folder)


def _indented(line: str) -> str:
    """Return a line whose indentation a terminal shows as it is; tabs would be escaped."""
    text = line.lstrip("\t")
    return "  " * (len(line) - len(text)) + text


def _program() -> list[str]:
    """Return how this program is started, by absolute paths."""
    started = Path(sys.argv[0])
    if started.name in {"backapp", "backapp.exe"} and (found := shutil.which(started)):
        return [str(Path(found).absolute())]
    return [sys.executable, "-m", "backapp_cli"]


def _fields(found: "Service") -> dict[str, object]:
    return {
        "path": str(found.path),
        "text": found.text,
        "begin": list(found.begin),
        "end": list(found.end),
    }
