"""Requests take paths in every form in which programs have them."""

from pathlib import Path

import pytest

from backapp_core import BackupRequest, Job, RestoreRequest
from backapp_core.errors import InputError
from backapp_core.model.requests import as_request

FORMS = ["/home/me", b"/home/me", Path("/home/me")]


@pytest.mark.parametrize("path", FORMS)
def test_one_path_is_one_root(path):
    assert as_request(path).roots == (b"/home/me",)
    assert BackupRequest(path).roots == (b"/home/me",)


@pytest.mark.parametrize("path", FORMS)
def test_each_path_of_a_sequence_is_a_root(path):
    assert as_request([path, "b"]).roots == (b"/home/me", b"b")
    assert BackupRequest(roots=("documents", path)).roots == (b"documents", b"/home/me")
    assert Job("nightly", "/srv", roots=[path]).roots == (b"/home/me",)


def test_whole_request_stays_itself():
    request = BackupRequest((b"/home",), tags=("a",))
    assert as_request(request) is request


@pytest.mark.parametrize("path", FORMS)
def test_folder_of_a_restore_is_any_path(path):
    assert RestoreRequest("/tmp/back", folder=path) == RestoreRequest(
        Path("/tmp/back"), folder=b"/home/me"
    )


@pytest.mark.parametrize("roots", [5, None, [5], ["a", None]])
def test_what_is_no_path_is_refused(roots):
    with pytest.raises(InputError, match="is no path"):
        as_request(roots)
