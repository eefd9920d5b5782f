"""The fakes keep the contracts of what they stand for."""

import pytest

from backapp_core.testing.fakes import MemoryBucket, MemoryTransport
from backapp_core.testing.transport_contract import TransportContract


class TestMemory(TransportContract):
    @pytest.fixture
    def reopen(self):
        bucket = MemoryBucket()
        return lambda: MemoryTransport(bucket)
