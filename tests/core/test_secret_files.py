import os

import pytest

from backapp_core.errors import InputError
from backapp_core.secret_files import read_secret_file


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("content", [b"s3cret", b"s3cret\n", b"s3cret\r\n"])
def test_line_end_is_no_part_of_the_secret(path, content):
    path.write_bytes(content)
    assert read_secret_file(str(path)) == "s3cret"


def test_spaces_and_any_script_are_part_of_the_secret(path):
    path.write_text(" pass wörd \n")
    assert read_secret_file(str(path)) == " pass wörd "


@pytest.mark.parametrize("mode", [0o601, 0o602, 0o604, 0o610, 0o620, 0o640, 0o644, 0o666, 0o777])
def test_file_that_others_may_use_is_refused(path, mode):
    path.write_text("canary")
    path.chmod(mode)
    with pytest.raises(InputError, match="chmod 600") as caught:
        read_secret_file(str(path))
    assert "canary" not in caught.value.message


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"canary\nsecond", b"canary\xff", b"canary\0", b"canary\x1b", b"x" * 4097],
)
def test_content_that_is_no_secret_is_refused_and_not_repeated(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_secret_file(str(path))
    assert str(path) in caught.value.message
    assert "canary" not in repr(caught.value)
    assert caught.value.__context__ is None


def test_fifo_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(InputError, match="not a regular file"):
        read_secret_file(str(tmp_path / "fifo"))


@pytest.mark.parametrize("path", ["", "/nowhere/secret", "a\0b", "/\ud800"])
def test_path_that_leads_nowhere_is_named_in_one_printable_line(path):
    with pytest.raises(InputError) as caught:
        read_secret_file(path)
    assert caught.value.message.isprintable()
