"""Where the bytes of a stream come from: a command that is run for it, or standard input."""

import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from signal import Signals
from typing import IO, cast, final

from typing_extensions import override

from backapp_core.plugin_api import CommandFailed, to_text

_PIPE_BYTES = 1 << 20
_GRACE_SECONDS = 5
"""How long a command that is asked to end may take before it is killed."""


class Running(ABC):
    """A source that delivers; used by one thread."""

    descriptor: int
    """What is read from."""

    @abstractmethod
    def has_ended(self, wait_seconds: float) -> bool:
        """Say whether the source has come to its end, after waiting for it no longer than that.

        Asked once nothing more can be read.

        Raises:
            CommandFailed: If the end is not a good one.
        """

    @abstractmethod
    def stop(self) -> None:
        """Make it end if it has not yet, and let go of it."""


class Source(ABC):
    """Something that can be made to deliver."""

    @abstractmethod
    def start(self) -> Running:
        """Begin.

        Raises:
            CommandFailed: If that is not possible.
        """


@final
class Command(Source):
    """A program with its arguments."""

    def __init__(self, words: tuple[bytes, ...]) -> None:
        self._words = words

    @override
    def start(self) -> Running:
        try:
            return RunningCommand(self._words)
        except OSError as error:
            raise CommandFailed(
                f"the command {_shown(self._words)} cannot be started: {error.strerror}"
            ) from error


@final
class RunningCommand(Running):
    """A process, whose standard output is read.

    It stays in the process group of this program, so that it may ask for a password on the
    terminal, and gets Ctrl-C as well.
    """

    def __init__(self, words: tuple[bytes, ...]) -> None:
        self._shown = _shown(words)
        self._process = subprocess.Popen(  # noqa: S603  # the user's own command, without a shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
        )
        self._pipe = cast("IO[bytes]", self._process.stdout)
        self.descriptor = self._pipe.fileno()
        _widen(self.descriptor)

    @override
    def has_ended(self, wait_seconds: float) -> bool:
        try:
            code = self._process.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            return False
        if code:
            how = f"was ended by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
            raise CommandFailed(f"the command {self._shown} {how}, so nothing was saved")
        return True

    @override
    def stop(self) -> None:
        # Whoever still writes gets a broken pipe, children of the command too.
        self._pipe.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@final
class StandardInput(Source):
    """What is piped into this program; it can be read once."""

    def __init__(self) -> None:
        self._is_read = False

    @override
    def start(self) -> Running:
        if self._is_read:
            raise CommandFailed("standard input was read already, and can be read only once")
        self._is_read = True
        return RunningInput()


@final
class RunningInput(Running):
    """Standard input; whether it came to a good end, nobody can tell."""

    descriptor = 0

    @override
    def has_ended(self, wait_seconds: float) -> bool:
        return True

    @override
    def stop(self) -> None:
        """It is not ours to close."""


def _widen(descriptor: int) -> None:
    """Let more wait in a pipe than the 64 KiB that it has room for by default."""
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # a limit of the user; it is slower then
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _shown(words: tuple[bytes, ...]) -> str:
    # Arguments may hold secrets.
    return f"'{to_text(words[0])}'"


def _name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
