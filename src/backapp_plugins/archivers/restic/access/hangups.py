"""SIGHUP while a lock is held, which may be a question and not the end of a terminal.

``restic unlock`` finds out whether the holder of a lock still lives by sending it a SIGHUP, if the
lock bears the name of its own machine. That must not stop a backup; closing the terminal must.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

from backapp_core.plugin_api import process_is_exiting

_Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def surviving_questions() -> Generator[bool]:
    """Within this, a SIGHUP goes by unless the terminal that the process had is gone.

    What was to be done at a hang-up is still done when it is one. Only the main thread can arrange
    that, and only where the handler is Python's or the system's.

    Yields:
        Whether the process survives the question, so that others may be let ask it.
    """
    guard = _guard()
    if guard is None:
        yield _is_ignored()
        return
    guard.holders += 1
    try:
        yield True
    finally:
        guard.holders -= 1
        if not guard.holders:
            guard.leave()


def _is_ignored() -> bool:
    # Windows has no hang-up, and nobody there asks.
    return not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def _guard() -> "_Guard | None":
    """Return what guards this process, put in place if need be, None if nothing can."""
    if _is_ignored() or threading.current_thread() is not threading.main_thread():
        return None
    present = signal.getsignal(signal.SIGHUP)
    if isinstance(present, _Guard):
        return present
    if present is not signal.SIG_DFL and not callable(present):
        return None  # a handler of some library, which nobody could put back
    guard = _Guard(present)
    signal.signal(signal.SIGHUP, guard)
    return guard


@final
class _Guard:
    """The handler that tells a hang-up from a question."""

    def __init__(self, before: _Handler | signal.Handlers) -> None:
        self.holders = 0
        self._before = before
        self._had_terminal = _has_terminal()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Hand a hang-up on to the handler from before."""
        is_question = _has_terminal() or not self._had_terminal
        if self.holders and is_question:
            return
        if callable(self._before):
            self._before(number, frame)
            return
        signal.signal(number, self._before)
        signal.raise_signal(number)

    def leave(self) -> None:
        """Put the handler from before back, unless another took this one's place."""
        is_possible = threading.current_thread() is threading.main_thread()
        present: object = signal.getsignal(signal.SIGHUP)
        if is_possible and present is self:
            signal.signal(signal.SIGHUP, self._before)


def _has_terminal() -> bool:
    """Say whether there is a controlling terminal, and it is not about to go.

    When the leader of a session ends, the kernel first sends the hang-up and takes the terminal
    away afterwards.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    leader = os.getsid(0)
    return leader == os.getpid() or not process_is_exiting(leader)
