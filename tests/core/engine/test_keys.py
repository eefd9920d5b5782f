import sys

import pytest

from backapp_core import keys_from
from backapp_core.errors import InputError


def test_nothing_given_is_no_password():
    keys = keys_from()
    assert keys.password is None
    assert keys.identity_files == ()


def test_file_is_read_when_it_is_asked_for_and_not_before(tmp_path):
    path = tmp_path / "password"
    keys = keys_from(password_file=str(path))
    path.write_text(" pass word \r\n")
    assert keys.password() == "pass word"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be"])
def test_mark_of_an_encoding_is_no_part_of_the_password(tmp_path, encoding):
    path = tmp_path / "password"
    mark = "" if encoding == "utf-8-sig" else "\ufeff"
    path.write_bytes(f"{mark}geheim ß\r\n".encode(encoding))
    assert keys_from(password_file=str(path)).password() == "geheim ß"


def test_command_prints_the_password(tmp_path):
    command = f"'{sys.executable}' -c 'print(\"geheim ß\")'"
    assert keys_from(password_command=command).password() == "geheim ß"


def test_secrets_are_not_in_the_representation(tmp_path):
    assert "password" not in repr(keys_from(password_command="echo hunter2"))
    assert "hunter2" not in repr(keys_from(password_command="echo hunter2"))


def test_two_ways_at_once_are_refused():
    with pytest.raises(InputError, match="use one of them"):
        keys_from(password_file="a", password_command="b")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_file_without_a_password_is_refused_and_not_quoted(tmp_path, content):
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"password file .* is (empty|no UTF-8 text)"):
        keys_from(password_file=str(path)).password()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing-here cannot be read: No such file"):
        keys_from(password_file=str(tmp_path / "nothing-here")).password()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/nothing/here", "cannot be run"),
        ("'unclosed", "cannot be split"),
        ("   ", "is empty"),
        (f"'{sys.executable}' -c 'raise SystemExit(3)'", "exit code 3"),
        (f"'{sys.executable}' -c pass", "output is empty"),
    ],
)
def test_command_that_gives_none_is_refused(command, reason):
    with pytest.raises(InputError, match=reason):
        keys_from(password_command=command).password()
