"""Which status an error is answered with; the one table from error classes to HTTP."""

import logging
from typing import Any, cast

from attrs import evolve
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException

from backapp_core.codec import to_plain
from backapp_core.errors import (
    AccessError,
    AgentRevoked,
    BackappError,
    CommandFailed,
    ConflictError,
    DeliveryError,
    InputError,
    InvalidSettings,
    MissingError,
    NotSignedIn,
    ObjectExists,
    ObjectMissing,
    PluginError,
    RepositoryError,
    RunCancelled,
    SourceError,
    StoreError,
    TargetError,
    TooManyAttempts,
    TransportError,
    UnknownPlugin,
    WorkerLost,
)
from backapp_core.wire import Problem, problem_type
from backapp_web.callers import NOBODY, Sort, facts_of

_LOG = logging.getLogger(__name__)
PROBLEM_JSON = "application/problem+json"

OF_ERROR: dict[type[BackappError], int] = {
    InputError: 400,
    MissingError: 404,
    ConflictError: 409,
    AccessError: 403,
    NotSignedIn: 401,
    AgentRevoked: 401,
    TooManyAttempts: 429,
    PluginError: 500,
    UnknownPlugin: 400,
    TransportError: 502,
    ObjectMissing: 409,
    ObjectExists: 409,
    RepositoryError: 500,
    SourceError: 500,
    TargetError: 500,
    StoreError: 503,
    CommandFailed: 500,
    WorkerLost: 500,
    DeliveryError: 502,
    RunCancelled: 503,
}

_TITLES = {
    400: "Cannot be used",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "In conflict with the present state",
    413: "Too large",
    415: "Of another kind than expected",
    429: "Too many attempts",
    500: "Unexpected error",
    502: "A destination does not answer",
    503: "Not available at present",
}


_SENTENCES = {
    404: "there is nothing at this address",
    405: "nothing at this address can be asked for in this way",
    413: "what was sent is larger than what is taken here",
}
"""What is said where the library says no more than the title."""

_SENT_AS = {"run_state": "state"}
"""What parts of an address are called there, if not as the variable that takes them."""


def status_of(error: BackappError) -> int:
    """Return the status of the most specific class of ``error`` that the table knows."""
    for kind in type(error).__mro__:
        if kind in OF_ERROR:
            return OF_ERROR[kind]
    return 500


def problem_of(error: Exception) -> Problem:
    """Return what is told of an error; of an unexpected one, no more than that there was one."""
    if isinstance(error, BackappError):
        status = status_of(error)
        faults = error.faults if isinstance(error, InvalidSettings) else ()
        return Problem(
            problem_type(type(error)), _title(status), status, error.message, tuple(faults)
        )
    if isinstance(error, HTTPException):
        status, faults = error.status_code, _faults_of(error)
        detail = _SENTENCES.get(status, error.detail)
        if faults:
            listed = "; ".join(f"{name}: {reason}" if name else reason for name, reason in faults)
            detail = f"the request cannot be used: {listed}"
        return Problem("about:blank", _title(status), status, _sentence(detail), faults)
    return Problem("about:blank", _title(500), 500, "an unexpected error happened")


def told(request: Request[Any, Any, Any], error: Exception) -> Problem:
    """Return what the caller is told of an error; somebody unknown nothing of the database."""
    problem = problem_of(error)
    if isinstance(error, StoreError) and facts_of(request).get("user", NOBODY).sort is Sort.NOBODY:
        # Where it stands and as whom it is asked is in the server's own log.
        return evolve(problem, detail="the server's database cannot be used at present")
    return problem


def _faults_of(error: HTTPException) -> tuple[tuple[str, str], ...]:
    """Return what is wrong with parts of an address, which the library checks by itself."""
    if not isinstance(error, ValidationException):
        return ()
    listed = cast("list[dict[str, object]]", error.extra or [])
    return tuple(_fault(str(one.get("key", "")), str(one["message"])) for one in listed)


def _fault(key: str, message: str) -> tuple[str, str]:
    if key == "data":
        # All that the library finds out about a body is that there is none.
        return "", "a body is missing"
    return _SENT_AS.get(key, key), _sentence(message)


def headers_of(error: Exception, status: int) -> dict[str, str]:
    """Return the headers that belong to an answer of this sort."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        headers |= error.headers or {}
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(max(1, round(error.wait_seconds)))
    if status == 401:  # noqa: PLR2004  # numbers of HTTP are their names
        headers["WWW-Authenticate"] = 'Bearer realm="backapp"'
    return headers


def as_problem(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer with ``application/problem+json``."""
    if not isinstance(error, BackappError | HTTPException):
        # The address itself may hold a token.
        where = facts_of(request).get("path_template", "")
        _LOG.error("unexpected error at %s %s", request.method, where, exc_info=error)
    problem = told(request, error)
    return Response(
        content=to_plain(problem),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=headers_of(error, problem.status),
    )


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Say whether somebody looks at a page, not a program at the interface."""
    return not facts_of(request)["path"].startswith("/api/") and MediaType.HTML.value in (
        request.headers.get("accept", "")
    )


def _title(status: int) -> str:
    return _TITLES.get(status, "Refused" if status < 500 else "Failed")  # noqa: PLR2004  # see above


def _sentence(detail: str) -> str:
    text = " ".join(detail.split()).removesuffix(".")
    return text[:1].lower() + text[1:200]
