"""The transport of agents does what every transport does, but for replacing."""

import pytest

from backapp_core.testing.transport_contract import TransportContract

pytestmark = pytest.mark.thorough


class TestPresigned(TransportContract):
    @pytest.fixture
    def reopen(self, reopen):
        return reopen

    @pytest.fixture
    def may_replace(self):
        return False

    @pytest.fixture
    def largest_object_bytes(self):
        return 4 << 20

    @pytest.fixture
    def place_foreign(self, fake_s3):
        return lambda name: fake_s3.store(f"/bucket/folder/{name}", b"foreign")
