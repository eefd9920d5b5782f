"""The fsspec transport keeps the contract on what it opens."""

import itertools
import sys

import pytest

from backapp_core.errors import (
    AccessRefused,
    InvalidAddress,
    ObjectMissing,
    PartMissing,
    StorageFull,
    TransportUnavailable,
)
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.transport_contract import TransportContract
from backapp_plugins.transports.fsspec_url import (
    FsspecSettings,
    hide_secrets,
    open_url,
    parse_address,
)

_numbers = itertools.count()


class TestMemory(TransportContract):
    @pytest.fixture
    def reopen(self, tmp_path):
        url = f"memory://kit-{next(_numbers)}/repository"
        return lambda: open_url(parse_address(url), make_surroundings(tmp_path))

    @pytest.fixture
    def creates_exclusively(self):
        return True  # its objects are in one process, and so is the lock


class TestLocalFiles(TransportContract):
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "not" / "yet" / "there"

    @pytest.fixture
    def reopen(self, folder, tmp_path):
        settings = FsspecSettings(f"local://{folder}")
        return lambda: open_url(settings, make_surroundings(tmp_path))

    @pytest.fixture
    def place_foreign(self, folder):
        return lambda name: (folder / name).write_bytes(b"foreign")

    @pytest.fixture
    def creates_exclusively(self):
        return False  # among several processes; this one has a lock


class TestSftp(TransportContract):
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "not" / "yet" / "there"

    @pytest.fixture
    def reopen(self, ssh_server, folder, tmp_path):
        settings = FsspecSettings(ssh_server.url(folder), ssh_server.options)
        return lambda: open_url(settings, make_surroundings(tmp_path))

    @pytest.fixture
    def place_foreign(self, folder):
        return lambda name: (folder / name).write_bytes(b"foreign")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sftp://me:secret@host/x", "sftp://me:***@host/x"),
        ("sftp:me:secret@host:/x", "sftp:me:***@host:/x"),
        ("SFTP:me:se@cret@host:x", "SFTP:me:***@host:x"),
        ("sftp:me:secret@[::1]:x", "sftp:me:***@[::1]:x"),
        ("sftp:host:x@y", "sftp:host:x@y"),
        ("sftp:me@host:/x:y@z:", "sftp:me@host:/x:y@z:"),
        ("smb://me:se@cret@host/x@y", "smb://me:***@host/x@y"),
        ("ftp://me@host/a:b@c", "ftp://me@host/a:b@c"),
        ("memory://x", "memory://x"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(address, shown):
    assert hide_secrets(address) == shown
    assert shown in repr(FsspecSettings(address))


@pytest.mark.parametrize("address", ["", "/plain/path", "://x", "memory", "memory://a\0b"])
def test_what_is_no_url_is_refused(address):
    with pytest.raises(InvalidAddress):
        parse_address(address)


def test_a_scheme_that_nobody_knows_is_refused_without_its_password(tmp_path):
    with pytest.raises(InvalidAddress) as raised:
        open_url(FsspecSettings("nothing-like-it://me:secret@h/x"), make_surroundings(tmp_path))
    assert "nothing-like-it" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_missing_library_is_named(tmp_path):
    with pytest.raises(PartMissing, match="smbprotocol"):
        open_url(FsspecSettings("smb://me:secret@host/x"), make_surroundings(tmp_path))


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("memory://x", "fsspec", "fsspec"),
        ("sftp://localhost:1/x", "paramiko", "sftp"),
    ],
)
def test_a_missing_part_names_the_extra_to_install(tmp_path, monkeypatch, url, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PartMissing, match=rf"pip install 'backapp\[{extra}\]'"):
        open_url(FsspecSettings(url), make_surroundings(tmp_path))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (FileNotFoundError("x"), ObjectMissing),
        (PermissionError("x"), AccessRefused),
        (NotImplementedError("x"), AccessRefused),
        (OSError(28, "full"), StorageFull),
        (TimeoutError("x"), TransportUnavailable),
        (ConnectionResetError("me:secret@host"), TransportUnavailable),
        (RuntimeError("a vendor's own, with me:secret@host"), TransportUnavailable),
    ],
)
def test_what_a_vendor_raises_becomes_ours(tmp_path, monkeypatch, raised, expected):
    transport = open_url(FsspecSettings("memory://vendor"), make_surroundings(tmp_path))

    def fail(*args, **kwargs):
        raise raised

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.info", fail)
    with pytest.raises(expected) as ours:
        transport.stat("object")
    assert "secret" not in str(ours.value)
    assert ours.value.__cause__ is raised


def test_listings_are_not_remembered(tmp_path):
    settings = FsspecSettings(f"local://{tmp_path}/repository")
    one, other = (open_url(settings, make_surroundings(tmp_path)) for _ in range(2))
    one.prepare()
    assert [*other.list()] == []
    one.put("object", [b"x"])
    assert [info.name for info in other.list()] == ["object"]
    one.delete("object")
    assert [*other.list()] == []
