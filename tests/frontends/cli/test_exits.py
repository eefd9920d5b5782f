"""One exit code per error, and a code for every family."""

import pytest

from backapp_cli.exits import OF_ERROR, ExitCode, code_for
from backapp_core import errors


def _families() -> list[type[errors.BackappError]]:
    return errors.BackappError.__subclasses__()


def test_every_family_has_a_code_of_its_own() -> None:
    assert [one for one in _families() if one not in OF_ERROR] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidPattern("x"), 2),
        (errors.InvalidSettings("x", [("a", "b")]), 2),
        (errors.AmbiguousSnapshot("x"), 2),
        (errors.UnknownPlugin("x"), 2),
        (errors.SourceNotFound("x"), 1),
        (errors.SnapshotNotFound("x"), 1),
        (errors.RepositoryNotFound("x"), 10),
        (errors.RepositoryLocked("x"), 11),
        (errors.RepositoryExists("x"), 1),
        (errors.WrongPassword("x"), 12),
        (errors.DamagedRepository("x"), 1),
        (errors.UnknownFormat("x"), 1),
        (errors.StorageFull("x"), 1),
        (errors.CommandFailed("x"), 1),
        (errors.RunCancelled("x"), 130),
        (errors.BackappError("x"), 1),
    ],
)
def test_errors_end_with_the_documented_code(error: errors.BackappError, code: int) -> None:
    assert code_for(error) == code


def test_codes_are_those_of_the_manual() -> None:
    assert {one.name: int(one) for one in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "BAD_USAGE": 2,
        "INCOMPLETE": 3,
        "NO_REPOSITORY": 10,
        "LOCKED": 11,
        "WRONG_PASSWORD": 12,
        "INTERRUPTED": 130,
        "PIPE_CLOSED": 141,
    }
