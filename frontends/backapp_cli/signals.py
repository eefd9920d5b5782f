"""Being asked to stop: the first signal stops cleanly, the second at once."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from backapp_cli.streams import leave_lost_terminal
from backapp_core.ports.surroundings import CancelToken

_Handler = Callable[[int, FrameType | None], Any] | int | None
_ENDING = tuple(
    # Windows has no hang-up.
    getattr(signal, name)
    for name in ("SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived while nothing was running that has to be finished cleanly."""


class Stopping:
    """What arrived so far; one per process."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the last signal, 0 if there was none."""
        self._before: dict[int, _Handler] = {}

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that stopped because of the signal."""
        return 128 + (self.received or signal.SIGINT)

    def raise_on_terminate(self) -> None:
        """Make SIGTERM and SIGHUP unwind the program as Ctrl-C does.

        Locks and temporary files go then. A hang-up that is ignored, as under nohup, stays so.
        """

        def terminate(number: int, frame: FrameType | None) -> None:
            del frame
            self.received = number
            _check_terminal(number)
            raise Terminated

        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, terminate)

    @contextmanager
    def cancelling(self, cancel: CancelToken, note: Callable[[str], None]) -> Generator[None]:
        """Within this, a signal sets ``cancel`` and a second one ends the process at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            del frame
            if self.received:
                _end_now(128 + number)
            self.received = number
            cancel.cancel()
            _check_terminal(number)
            how = "press Ctrl-C again" if number == signal.SIGINT else "signal again"
            note(f"stopping cleanly; {how} to stop at once")

        before: dict[int, _Handler] = {
            n: signal.signal(n, stop)
            for n in (signal.SIGINT, *_ENDING)
            if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN
        }
        self._before = before
        try:
            yield
        finally:
            self._before = {}
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interrupting(self) -> Generator[None]:
        """Within this, a signal unwinds the program at once although `cancelling` is in force.

        For questions to a person: whoever is asked may answer with Ctrl-C, and the terminal shows
        again what is typed.
        """
        during = {number: signal.signal(number, one) for number, one in self._before.items()}
        try:
            yield
        finally:
            for number, handler in during.items():
                signal.signal(number, handler)


def _check_terminal(number: int) -> None:
    # What is still said while the program stops must not fail for want of a terminal.
    if number not in {signal.SIGINT, signal.SIGTERM}:
        leave_lost_terminal()


def _end_now(code: int) -> None:
    if sys.stderr.isatty():
        # A progress bar hides the cursor.
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    os._exit(code)
