"""From what a server answers instead of an answer to the error that it stands for."""

import msgspec

from backapp_core.plugin_api import (
    AccessRefused,
    AgentRevoked,
    AgentRunning,
    BackappError,
    GrantRefused,
    IllegalTransition,
    InputError,
    InvalidName,
    LeaseLost,
    NameTaken,
    ObjectExists,
    ObjectMissing,
    RepositoryExists,
    RepositoryNotFound,
    RunNotFound,
    StorageFull,
    StoreUnavailable,
    TokenRefused,
    TransportUnavailable,
    to_line,
)
from backapp_core.wire import problem_type

_LONGEST_DETAIL = 500
_KNOWN: dict[str, type[BackappError]] = {
    problem_type(kind): kind
    for kind in (
        AccessRefused,
        AgentRevoked,
        AgentRunning,
        GrantRefused,
        IllegalTransition,
        InputError,
        InvalidName,
        LeaseLost,
        NameTaken,
        ObjectExists,
        ObjectMissing,
        RepositoryExists,
        RepositoryNotFound,
        RunNotFound,
        StorageFull,
        StoreUnavailable,
        TokenRefused,
        TransportUnavailable,
    )
}
"""What the contracts of `Work` and `CanIssueGrants` name; a server chooses among these only."""


_CLIENT_ERRORS = range(400, 500)


class _Problem(msgspec.Struct):
    type: str
    detail: str = ""


def error_for(origin: str, status: int, body: bytes) -> BackappError:
    """Return the error that an answer stands for.

    What the server itself refuses in a way that is not known here is an `InputError`, which nobody
    tries again; what somebody between, or a server in trouble, says is `StoreUnavailable`.

    Args:
        origin: Which server answered.
        status: The HTTP status, 300 or more.
        body: What came with it, in whatever format.
    """
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return StoreUnavailable(f"{origin} answered with status {status}")
    detail = to_line(problem.detail[:_LONGEST_DETAIL])
    kind = _KNOWN.get(problem.type)
    if kind is not None and detail:
        return kind(detail)
    said = f"{origin} answered with status {status}{f': {detail}' if detail else ''}"
    return InputError(said) if status in _CLIENT_ERRORS else StoreUnavailable(said)
