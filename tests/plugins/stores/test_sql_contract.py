import pytest

from backapp_core.testing.store_contract import StoreContract


class TestSql(StoreContract):
    @pytest.fixture
    def store(self, open_at, path):
        return open_at(path)
