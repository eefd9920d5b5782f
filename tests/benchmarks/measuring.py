"""Times whole processes, for the benchmarks beside this module."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from attrs import define


@define
class Timed:
    """What one finished process took, or several that did one thing together."""

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    """Of this process alone, but never less than what the benchmark itself has in memory.

    Linux starts a program's peak with that of the process which became the program, and that was a
    copy of its parent; so nothing large may ever happen in this one.
    """


def timed(command: Sequence[str], **options: Any) -> Timed:
    """Run a command to its end and say what it took; a failure ends the benchmark."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return Timed(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def together(parts: Sequence[Timed]) -> Timed:
    """Return what processes took that ran one after the other."""
    return Timed(
        sum(part.seconds for part in parts),
        sum(part.cpu_seconds for part in parts),
        max(part.peak_megabytes for part in parts),
    )


def spread(values: Sequence[float]) -> str:
    """Return minimum, median and maximum as columns."""
    return f"{min(values):8.2f} {statistics.median(values):8.2f} {max(values):8.2f}"
