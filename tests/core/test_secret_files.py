import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backapp_core.errors import InputError
from backapp_core.secret_files import read_secret_file, write_private_file


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


# --- writing


def _draft(name):
    return f".{name}.{os.getpid()}-{threading.get_native_id()}.draft"


def test_private_file_is_written_for_its_owner_alone_and_read_back(tmp_path):
    path = tmp_path / "new" / "folder" / "key"
    write_private_file(path, "secret\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_secret_file(str(path)) == "secret"


def test_private_file_is_replaced_as_a_whole_and_leaves_no_draft(tmp_path):
    path = tmp_path / "key"
    path.write_text("open to all\n")
    path.chmod(0o666)
    write_private_file(path, "secret\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_private_file_that_cannot_be_written_leaves_the_former_one(tmp_path):
    path = tmp_path / "key"
    write_private_file(path, "former\n")
    (tmp_path / _draft("key")).mkdir()  # in the way of every attempt
    with pytest.raises(InputError) as caught:
        write_private_file(path, "later\n")
    assert "later" not in caught.value.message
    assert read_secret_file(str(path)) == "former"


def test_draft_of_a_process_that_was_killed_is_in_nobodys_way(tmp_path):
    path = tmp_path / "key"
    (tmp_path / _draft("key")).write_text("half a sec")
    write_private_file(path, "secret\n")
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_threads_that_write_the_same_private_file_are_not_in_one_anothers_way(tmp_path):
    path = tmp_path / "record"
    texts = [letter * 100_000 for letter in "abcd"]
    together = threading.Barrier(len(texts))

    def write(text):
        for _ in range(20):
            together.wait(timeout=10)
            write_private_file(path, text)
            assert path.read_text() in texts

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write, texts))
    assert [one.name for one in tmp_path.iterdir()] == ["record"]


def test_what_leads_to_a_private_file_survives_a_power_cut_like_the_file(tmp_path, monkeypatch):
    synchronised = []
    synchronise = os.fsync

    def fsync(descriptor):
        synchronised.append(os.fstat(descriptor).st_ino)
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "new" / "folder" / "key"
    write_private_file(path, "secret\n")
    ways = (tmp_path, tmp_path / "new", path, path.parent)
    assert synchronised == [way.stat().st_ino for way in ways]
    assert [stat.S_IMODE(way.stat().st_mode) for way in path.parents[:2]] == [0o700, 0o700]
