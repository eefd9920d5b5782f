"""Which exit code the process ends with; the one table from error classes to numbers."""

from enum import IntEnum

from backapp_core.errors import (
    AccessError,
    BackappError,
    CommandFailed,
    ConflictError,
    DeliveryError,
    InputError,
    MissingError,
    PluginError,
    RepositoryError,
    RepositoryLocked,
    RepositoryNotFound,
    RunCancelled,
    SourceError,
    StoreError,
    TargetError,
    TransportError,
    WorkerLost,
    WrongPassword,
)


class ExitCode(IntEnum):
    """What the shell sees; the numbers are restic's where restic has one."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    """Bad usage or configuration; nothing was changed."""
    INCOMPLETE = 3
    """Done, but some entries of the source could not be read."""
    NO_REPOSITORY = 10
    LOCKED = 11
    WRONG_PASSWORD = 12
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """Whoever read standard output went away; as for any program that SIGPIPE ends."""


OF_ERROR: dict[type[BackappError], ExitCode] = {
    InputError: ExitCode.BAD_USAGE,
    AccessError: ExitCode.FAILED,
    MissingError: ExitCode.FAILED,
    RepositoryNotFound: ExitCode.NO_REPOSITORY,
    ConflictError: ExitCode.FAILED,
    RepositoryLocked: ExitCode.LOCKED,
    PluginError: ExitCode.BAD_USAGE,
    TransportError: ExitCode.FAILED,
    RepositoryError: ExitCode.FAILED,
    WrongPassword: ExitCode.WRONG_PASSWORD,
    SourceError: ExitCode.FAILED,
    TargetError: ExitCode.FAILED,
    StoreError: ExitCode.FAILED,
    CommandFailed: ExitCode.FAILED,
    WorkerLost: ExitCode.FAILED,
    DeliveryError: ExitCode.FAILED,
    RunCancelled: ExitCode.INTERRUPTED,
}


def code_for(error: BackappError) -> int:
    """Return the exit code of the most specific class of ``error`` that the table knows."""
    for kind in type(error).__mro__:
        if kind in OF_ERROR:
            return OF_ERROR[kind]
    return ExitCode.FAILED
