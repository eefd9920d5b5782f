import pytest

from backapp_core.testing.memory_store import MemoryStore
from backapp_core.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()
