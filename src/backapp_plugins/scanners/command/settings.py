"""What a job says about the command whose output it backs up."""

from attrs import frozen


@frozen
class CommandSettings:
    """A command, or standard input, and the file that becomes of it in snapshots."""

    roots: tuple[bytes, ...] = ()
    """One absolute path: where the file stands in snapshots. Nothing need stand there on this
    machine."""
    command: tuple[bytes, ...] = ()
    """The program and its arguments, which no shell sees; found by ``PATH`` if it is a plain
    name. What it prints besides, on standard error, goes where this program's does."""
    reads_stdin: bool = False
    """Whether standard input of this process is read instead of running a command."""
