"""Being asked whether one lives does no harm; losing the terminal still ends the work."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator

import pytest

from backapp_plugins.archivers.restic.access.hangups import surviving_questions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="terminals are those of Linux")

CHILD = """
import os, signal, sys
from backapp_plugins.archivers.restic.access.hangups import surviving_questions

def hung_up(number, frame):
    os.write(1, b"hung up\\n")
    os._exit(3)

signal.signal(signal.SIGHUP, {handler})
with surviving_questions() as survives:
    print("survives" if survives else "dies", flush=True)
    while sys.stdin.readline() == "\\n":
        print("alive", flush=True)
print("outside", flush=True)
sys.stdin.readline()
"""

LEADER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


class Terminal:
    """A terminal, and processes that have it for their controlling one."""

    def __init__(self) -> None:
        self.above, below = pty.openpty()
        self._below = below
        self._begun: list[subprocess.Popen[str]] = []

    def begin(self, *command: str, is_attached: bool = True) -> subprocess.Popen[str]:
        def attach() -> None:
            if is_attached:
                fcntl.ioctl(self._below, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [sys.executable, "-c", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=attach,  # noqa: PLW1509  # no other thread is at work
        )
        self._begun.append(process)
        return process

    def hang_up(self) -> None:
        for descriptor in (self.above, self._below):
            if descriptor >= 0:
                os.close(descriptor)
        self.above = self._below = -1

    def close(self) -> None:
        self.hang_up()
        for process in self._begun:
            process.kill()
            process.communicate()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def child(handler: str = "signal.SIG_DFL") -> str:
    return CHILD.format(handler=handler)


def expect(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout
    assert process.stdout.readline() == f"{line}\n"


def ask(process: subprocess.Popen[str]) -> None:
    """Ask as restic does, and look whether the process goes on."""
    process.send_signal(signal.SIGHUP)
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    expect(process, "alive")


@pytest.mark.parametrize("is_attached", [True, False], ids=["terminal", "daemon"])
@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "hung_up"])
def test_a_question_does_no_harm(terminal, handler, is_attached) -> None:
    process = terminal.begin(child(handler), is_attached=is_attached)
    expect(process, "survives")
    ask(process)
    ask(process)


@pytest.mark.parametrize(("handler", "code"), [("signal.SIG_DFL", -signal.SIGHUP), ("hung_up", 3)])
def test_a_terminal_that_goes_away_does_what_it_did_before(
    terminal: Terminal, handler: str, code: int
) -> None:
    process = terminal.begin(child(handler))
    expect(process, "survives")
    ask(process)
    terminal.hang_up()
    assert process.wait(timeout=30) == code


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_shell_that_ends_takes_the_terminal_along(
    terminal: Terminal, end: signal.Signals
) -> None:
    shell = terminal.begin(LEADER, child("hung_up"))
    expect(shell, "survives")
    shell.send_signal(end)
    expect(shell, "hung up")


def test_afterwards_a_hang_up_is_one_again(terminal: Terminal) -> None:
    process = terminal.begin(child(), is_attached=False)
    expect(process, "survives")
    assert process.stdin
    process.stdin.write("leave\n")
    process.stdin.flush()
    expect(process, "outside")
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == -signal.SIGHUP


@pytest.fixture
def disposition() -> Iterator[Callable[[object], None]]:
    """Return a function that sets what a hang-up does; it is put back."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_what_was_there_before_is_put_back(disposition) -> None:
    for handler in (signal.SIG_DFL, signal.SIG_IGN, lambda *_: None):
        disposition(handler)
        with surviving_questions() as outer, surviving_questions() as inner:
            assert outer
            assert inner
        assert signal.getsignal(signal.SIGHUP) is handler


def test_two_need_not_end_in_the_order_in_which_they_began(disposition) -> None:
    disposition(signal.SIG_DFL)
    one, other = surviving_questions(), surviving_questions()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
    other.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_handler_that_came_meanwhile_stays(disposition) -> None:
    later = lambda *_: None  # noqa: E731  # compared by identity
    with surviving_questions():
        signal.signal(signal.SIGHUP, later)
    assert signal.getsignal(signal.SIGHUP) is later


def chain_after(handler) -> None:
    def also(number, frame) -> None:
        handler(number, frame)

    signal.signal(signal.SIGHUP, also)


def test_once_nobody_holds_a_lock_the_handler_from_before_is_called(disposition) -> None:
    calls: list[int] = []
    disposition(lambda number, _: calls.append(number))
    with surviving_questions():
        chain_after(signal.getsignal(signal.SIGHUP))
    signal.raise_signal(signal.SIGHUP)
    assert calls == [signal.SIGHUP]


def test_another_thread_survives_only_where_it_is_ignored(disposition) -> None:
    answers: list[bool] = []

    def look() -> None:
        with surviving_questions() as survives:
            answers.append(survives)

    for handler in (signal.SIG_DFL, signal.SIG_IGN):
        disposition(handler)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGHUP) is handler
    assert answers == [False, True]
