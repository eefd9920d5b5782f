"""One table from errors to statuses; what it leaves unsaid stays unsaid."""

import inspect

import pytest
from litestar.exceptions import HTTPException

from backapp_core import errors
from backapp_web.answers import OF_ERROR, headers_of, problem_of, status_of

ALL = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, errors.BackappError)
]
FAMILIES = [kind for kind in ALL if kind.__base__ is errors.BackappError]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda kind: kind.__name__)
def test_every_family_of_errors_has_its_status(family):
    assert family in OF_ERROR


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidName("x"), 400),
        (errors.UnknownPlugin("x"), 400),
        (errors.NotSignedIn("x"), 401),
        (errors.AgentRevoked("x"), 401),
        (errors.NotAllowed("x"), 403),
        (errors.TokenRefused("x"), 403),
        (errors.GrantRefused("x"), 403),
        (errors.JobNotFound("x"), 404),
        (errors.LeaseLost("x"), 409),
        (errors.NameTaken("x"), 409),
        (errors.ObjectMissing("x"), 409),
        (errors.TooManyAttempts("x", wait_seconds=9), 429),
        (errors.TransportUnavailable("x"), 502),
        (errors.StoreUnavailable("x"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_is_answered_by_what_it_says_of_the_request(error, status):
    problem = problem_of(error)
    assert (problem.status, status_of(error)) == (status, status)
    assert problem.type == f"urn:backapp:error:{type(error).__name__}"
    assert problem.detail == "x"


def test_nothing_is_told_of_an_error_that_nobody_expected():
    problem = problem_of(RuntimeError("password is hunter2 at /srv/secret"))
    assert problem.status == 500
    assert "hunter2" not in repr(problem)


def test_answer_says_how_to_go_on():
    assert headers_of(errors.TooManyAttempts("x", wait_seconds=900.4), 429) == {
        "Retry-After": "900"
    }
    assert "WWW-Authenticate" in headers_of(errors.NotSignedIn("x"), 401)
    gone = HTTPException(status_code=405, headers={"Allow": "GET"})
    assert headers_of(gone, 405) == {"Allow": "GET"}
