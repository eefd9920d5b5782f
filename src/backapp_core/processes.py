"""Who this process is, and whether another lives: what locks, keys and snapshots say of them."""

import getpass
import os
import socket
import sys
from pathlib import Path

_NO_ID = "none"
_DEAD_STATES = {b"Z", b"X"}
_STARTED, _FLAGS = 19, 6
"""Where they stand behind the name in /proc/PID/stat, see proc(5)."""
_EXITING = 0x4
"""``PF_EXITING`` of the kernel: set before anything is said about the end of a process."""


def host_name() -> str:
    """Return the name of this machine as text that can be encoded."""
    return _encodable(socket.gethostname())


def user_name() -> str:
    """Return the name of who runs this, empty for a user id without a name."""
    try:
        return _encodable(getpass.getuser())
    except (KeyError, OSError, ImportError):
        return ""


def user_and_group() -> tuple[int, int]:
    """Return the ids of who runs this; zeros, which locks then leave out, where there are none."""
    return (0, 0) if sys.platform == "win32" else (os.getuid(), os.getgid())


def system_ids() -> str:
    """Return the ids of the machine, of its boot and of the process table, empty if unknown.

    Containers on one kernel have different ones.
    """
    boot = boot_id()
    try:
        table = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # the link names no path
    except OSError:
        return ""
    if not boot:
        return ""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    return f"{machine or _NO_ID} {boot} {table}"


def boot_id() -> str:
    """Return what the kernel calls the time since it was started, empty if unknown.

    It is another one on every machine, copies of a machine's disk included.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def is_of_earlier_boot(system: str) -> bool:
    """Say whether these `system_ids` are those of this machine before it was started last."""
    theirs, ours = system.split(), system_ids().split()
    # Only the machine's own id says that it is the same one: host names are given twice.
    return len(theirs) == len(ours) and theirs[:1] == ours[:1] != [_NO_ID] and theirs[1] != ours[1]


def process_started(pid: int) -> str:
    """Return when a process began, in the kernel's count.

    Empty where that cannot be known, where there is no such process, and for one that is dead and
    only waits for its parent to ask how it ended.
    """
    fields = _stat_fields(pid)
    return "" if not fields or fields[0] in _DEAD_STATES else fields[_STARTED].decode()


def process_is_exiting(pid: int) -> bool:
    """Say whether a process is known to be on its way out."""
    fields = _stat_fields(pid)
    return bool(fields) and bool(int(fields[_FLAGS]) & _EXITING)


def process_exists(pid: int) -> bool:
    """Say whether there is a process of this number; it is not disturbed."""
    if sys.platform == "win32":
        return True  # looking would end it there
    if pid <= 0:
        return False  # such numbers stand for groups of processes
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _stat_fields(pid: int) -> list[bytes]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    # The second field is a name in brackets that may hold anything, spaces and brackets too.
    return stat.rpartition(b") ")[2].split()


def _encodable(name: str) -> str:
    return name.encode("utf-8", "replace").decode("utf-8")
