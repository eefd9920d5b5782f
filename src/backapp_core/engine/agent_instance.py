"""Which process worked as this machine's agent before, and whether it surely ended.

Whoever holds the lock of the agent's folder knows that of a former process in that very folder, on
the same running kernel. A folder that was copied, to another machine or beside the first one, says
who works elsewhere: to end that one's work in its name would take it away from who does it.
"""

from pathlib import Path

from backapp_core import processes
from backapp_core.secret_files import write_private_file

FILE = "instance"


def former_instance(folder: Path) -> str:
    """Return what the last process that worked in ``folder`` was called, if it surely ended.

    Empty if there was none, or if it may live: the folder is a copy, or the machine was started
    anew, or this system does not tell. To be asked under the lock of the folder.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        said = (folder / FILE).read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    place = _place(folder)
    return said[0] if place and said[1:] == [place] else ""


def note_instance(folder: Path, instance: str) -> None:
    """Remember that the process that is called so works in ``folder``, which is made if need be.

    Raises:
        InputError: If it cannot be written.
    """
    # The folder is there when its place is asked for.
    write_private_file(folder / FILE, f"{instance}\n")
    write_private_file(folder / FILE, f"{instance}\n{_place(folder)}\n")


def _place(folder: Path) -> str:
    """Return what a copy of ``folder`` differs in; empty if nobody knows."""
    boot = processes.boot_id()
    found = folder.stat()
    return f"{boot} {found.st_dev} {found.st_ino}" if boot else ""
