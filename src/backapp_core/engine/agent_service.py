"""The agent as what an operating system starts by itself: systemd, launchd, Windows' scheduler."""

import plistlib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from xml.sax.saxutils import escape

from attrs import frozen

from backapp_core.errors import InputError, NameTaken
from backapp_core.model.names import to_line

_NAME = "backapp-agent"
_LABEL = "org.backapp.agent"
_TASK = "BackApp\\Agent"
_MARK = "Written by 'backapp agent install'"
_HARDENED = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
"""
_HARDENED_SYSTEM = """\
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectClock=yes
ProtectHostname=yes
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER CAP_FSETID
"""


class Starter(StrEnum):
    """What starts programs."""

    SYSTEMD = "systemd"
    """For the machine, as root."""
    SYSTEMD_USER = "systemd-user"
    """For one user, while that one is logged in or lingers."""
    LAUNCHD = "launchd"
    LAUNCHD_USER = "launchd-user"
    WINDOWS = "windows"
    """A scheduled task that begins with the machine."""


@frozen
class Service:
    """What is written where, and what to do then."""

    path: Path
    text: str
    begin: tuple[str, ...]
    """Commands that start it, now and whenever the machine does."""
    end: tuple[str, ...]
    """Commands that stop it for good."""


def describe(starter: Starter, command: Sequence[str], *, home: Path, folder: Path) -> Service:
    """Return how ``starter`` runs the agent.

    Args:
        starter: What starts it.
        command: The program and its arguments.
        home: Of who installs it.
        folder: The agent's own.
    """
    match starter:
        case Starter.SYSTEMD:
            return Service(
                Path(f"/etc/systemd/system/{_NAME}.service"),
                _unit(command, "multi-user.target", _HARDENED + _HARDENED_SYSTEM),
                ("systemctl daemon-reload", f"systemctl enable --now {_NAME}"),
                (f"systemctl disable --now {_NAME}", "systemctl daemon-reload"),
            )
        case Starter.SYSTEMD_USER:
            return Service(
                home / f".config/systemd/user/{_NAME}.service",
                _unit(command, "default.target", _HARDENED),
                (
                    "systemctl --user daemon-reload",
                    f"systemctl --user enable --now {_NAME}",
                    "loginctl enable-linger",
                ),
                (
                    f"systemctl --user disable --now {_NAME}",
                    "systemctl --user daemon-reload",
                ),
            )
        case Starter.LAUNCHD:
            path = Path(f"/Library/LaunchDaemons/{_LABEL}.plist")
            return _launchd(path, command, folder, domain="system")
        case Starter.LAUNCHD_USER:
            path = home / f"Library/LaunchAgents/{_LABEL}.plist"
            return _launchd(path, command, folder, domain="gui/$(id -u)")
        case Starter.WINDOWS:
            path = folder / "task.xml"
            return Service(
                path,
                _task(command),
                (
                    f'schtasks /Create /TN "{_TASK}" /XML "{path}"',
                    f'schtasks /Run /TN "{_TASK}"',
                ),
                (f'schtasks /End /TN "{_TASK}"', f'schtasks /Delete /TN "{_TASK}" /F'),
            )


def install(service: Service) -> None:
    """Write the description; one that stands there from an earlier time is replaced.

    Raises:
        NameTaken: If something else stands there.
        InputError: If it cannot be written.
    """
    _refuse_strange(service)
    try:
        service.path.parent.mkdir(parents=True, exist_ok=True)
        service.path.write_bytes(service.text.encode(_encoding(service.path)))
    except OSError as error:
        raise InputError(f"{service.path} cannot be written: {error.strerror or error}") from error


def uninstall(service: Service) -> bool:
    """Remove the description and say whether there was one.

    Raises:
        NameTaken: If something else stands there.
        InputError: If it cannot be removed.
    """
    _refuse_strange(service)
    try:
        service.path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"{service.path} cannot be removed: {error.strerror or error}") from error
    return True


def _refuse_strange(service: Service) -> None:
    try:
        there = service.path.read_bytes().decode(_encoding(service.path), "replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{service.path} cannot be read: {error.strerror or error}") from error
    if _MARK not in there:
        raise NameTaken(
            f"{to_line(str(service.path))} was not written by BackApp and stays; move it away first"
        )


def _encoding(path: Path) -> str:
    return "utf-16" if path.suffix == ".xml" else "utf-8"  # what schtasks reads


def _unit(command: Sequence[str], wanted_by: str, hardened: str) -> str:
    # Nothing that hides files: what cannot be read cannot be backed up, and a restore or a
    # repository may be anywhere. No way to more rights than it has, and no set-id bits.
    return (
        f"# {_MARK}; changes belong into a drop-in (systemctl edit {_NAME}).\n"
        "[Unit]\n"
        "Description=BackApp agent: backs this machine up for its server\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        "\n"
        "[Service]\n"
        "Type=exec\n"
        f"ExecStart={' '.join(map(_unit_word, command))}\n"
        "Restart=on-failure\n"
        "RestartSec=30\n"
        # Workers and commands end with their run, which is handed back; not before it knows.
        "KillMode=mixed\n"
        "TimeoutStopSec=90\n"
        "Nice=10\n"
        "IOSchedulingClass=best-effort\n"
        "IOSchedulingPriority=7\n"
        "UMask=0077\n"
        f"{hardened}"
        "\n"
        "[Install]\n"
        f"WantedBy={wanted_by}\n"
    )


def _unit_word(word: str) -> str:
    """Quote one argument as systemd.service(5) reads them."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or " " in word or "'" in word else word


def _launchd(path: Path, command: Sequence[str], folder: Path, *, domain: str) -> Service:
    plain = {
        "Label": _LABEL,
        "ProgramArguments": list(command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 30,
        "ProcessType": "Background",
        "LowPriorityIO": True,
        "Nice": 10,
        "Umask": 0o077,
        "StandardErrorPath": str(folder / "agent.log"),
        "Comment": _MARK,
    }
    return Service(
        path,
        plistlib.dumps(plain).decode("utf-8"),
        (f"launchctl bootstrap {domain} {path}",),
        (f"launchctl bootout {domain}/{_LABEL}",),
    )


def _task(command: Sequence[str]) -> str:
    import subprocess  # noqa: PLC0415  # for its way of quoting alone

    arguments = subprocess.list2cmdline(command[1:])
    return f"""\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{_MARK}: backs this machine up for its server</Description>
  </RegistrationInfo>
  <Triggers>
    <BootTrigger><Enabled>true</Enabled></BootTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>7</Priority>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec><Command>{escape(command[0])}</Command><Arguments>{escape(arguments)}</Arguments></Exec>
  </Actions>
</Task>
"""
