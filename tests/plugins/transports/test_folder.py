"""The folder transport keeps the contract, and what only a folder can show."""

import pytest

from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.transport_contract import TransportContract
from backapp_plugins.transports.folder import FolderSettings, open_folder


class TestFolder(TransportContract):
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "not" / "yet" / "there"

    @pytest.fixture
    def reopen(self, folder, tmp_path):
        return lambda: open_folder(FolderSettings(folder), make_surroundings(tmp_path))

    @pytest.fixture
    def place_foreign(self, folder):
        return lambda name: (folder / name).write_bytes(b"foreign")
