"""Standard streams that are there whatever the caller closed."""

import os
import sys
from contextlib import suppress

closed_at_start: set[int] = set()
"""Which of the descriptors 0, 1 and 2 led nowhere when the program began."""


def reopen_missing() -> None:
    """Let closed standard streams read and write nothing.

    Otherwise the next file that is opened, perhaps one of a repository, would be taken for standard
    output, and Python has no stream object for what was closed.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            closed_at_start.add(number)
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def leave_lost_terminal() -> None:
    """Write to nowhere what would go to a terminal that was hung up; writing there fails."""
    for number in (1, 2):
        try:
            # Nothing is written, which works everywhere else, into a broken pipe too.
            os.write(number, b"")
        except OSError:
            silence(number)


def silence(number: int) -> None:
    """Point a standard stream elsewhere, so that Python's own flush at the end stays quiet."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
