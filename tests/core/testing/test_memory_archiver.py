"""A second implementation passes the kit of archivers, so the kit asks for nothing of tar.gz."""

import pytest

from backapp_core.testing.archiver_contract import ArchiverContract
from backapp_core.testing.lock_waiting_contract import LockWaitingContract
from backapp_core.testing.memory_archiver import MEMORY_ARCHIVER
from backapp_core.testing.stream_contract import StreamContract
from backapp_core.testing.unchanged_contract import UnchangedContract


class TestMemoryArchiver(ArchiverContract, LockWaitingContract, StreamContract, UnchangedContract):
    @pytest.fixture
    def kind(self):
        return MEMORY_ARCHIVER
