"""The fsspec transport keeps the contract on what it opens."""

import itertools

import pytest

from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.transport_contract import TransportContract
from backapp_plugins.transports.fsspec_url import FsspecSettings, open_url, parse_address

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
