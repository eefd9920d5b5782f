import shutil

import pytest

from backapp_core.testing.store_contract import StoreContract


class TestSql(StoreContract):
    @pytest.fixture
    def store(self, open_at, empty_file, tmp_path):
        shutil.copy(empty_file, tmp_path / "store.db")
        return open_at(tmp_path / "store.db")
