"""Processes that end in the middle of what they do, as by ``kill -9`` or a power cut.

A sweep over every point of a verb::

    for number, phase in passed_points(inner, run):
        mark = folder / f"{number}-{phase}"
        transport = FaultyTransport(inner, kill_once_at(number, phase, mark))
        run_until_killed(lambda: run(transport), mark)
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from backapp_core.ports.transports import Transport
from backapp_core.testing.faults import (
    FaultyTransport,
    Operation,
    Phase,
    Strike,
    kill_this_process,
)


def passed_points(
    inner: Transport, run: Callable[[Transport], object]
) -> Sequence[tuple[int, Phase]]:
    """Return every point that ``run`` passes on ``inner``: all at which it can be struck."""
    passed: list[tuple[int, Phase]] = []
    run(FaultyTransport(inner, lambda operation, phase: passed.append((operation.number, phase))))
    return passed


def kill_once_at(number: int, phase: Phase, mark: Path) -> Strike:
    """Return a strike that kills this process at one point and leaves ``mark`` behind.

    Threads may come along in another order than when the points were counted, so that an operation
    of that number has no such phase; then it is the next point that is passed.
    """
    order = list(Phase)
    point = number, order.index(phase)

    def strike(operation: Operation, now: Phase) -> None:
        if (operation.number, order.index(now)) >= point:
            with mark.open("xb"):  # a second time would be an error
                kill_this_process()

    return strike


def run_until_killed(action: Callable[[], object], mark: Path) -> None:
    """Run ``action`` in a process of its own that must be killed on the way.

    Raises:
        AssertionError: If it came to an end, good or bad, or was killed before ``mark`` was made.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the process was not killed but ended with {status}"
    assert mark.exists(), "the process was killed, but not at the point that was meant"
