"""Being asked to stop: the first signal stops cleanly, the second at once."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from backapp_core.ports.surroundings import CancelToken


class Terminated(BaseException):
    """SIGTERM arrived while nothing was running that has to be finished cleanly."""


class Stopping:
    """What arrived so far; one per process."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the last signal, 0 if there was none."""

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that stopped because of the signal."""
        return 128 + (self.received or signal.SIGINT)

    def raise_on_terminate(self) -> None:
        """Make SIGTERM unwind the program as Ctrl-C does, so that locks and temporary files go."""

        def terminate(number: int, frame: FrameType | None) -> None:
            del frame
            self.received = number
            raise Terminated

        signal.signal(signal.SIGTERM, terminate)

    @contextmanager
    def cancelling(self, cancel: CancelToken, note: Callable[[str], None]) -> Generator[None]:
        """Within this, a signal sets ``cancel`` and a second one ends the process at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            del frame
            if self.received:
                _end_now(128 + number)
            self.received = number
            cancel.cancel()
            how = "press Ctrl-C again" if number == signal.SIGINT else "signal again"
            note(f"stopping cleanly; {how} to stop at once")

        before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _end_now(code: int) -> None:
    if sys.stderr.isatty():
        # A progress bar hides the cursor.
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    os._exit(code)
