"""The restic archiver keeps the contract of archivers."""

import pytest

from backapp_core.plugin_api import ArchiverKind, Keys
from backapp_core.testing.archiver_contract import ArchiverContract
from backapp_core.testing.lock_waiting_contract import LockWaitingContract
from backapp_core.testing.stream_contract import StreamContract
from backapp_core.testing.unchanged_contract import UnchangedContract
from backapp_plugins.archivers.restic import backapp_archivers


@pytest.mark.usefixtures("cheap_keys")
class TestRestic(ArchiverContract, LockWaitingContract, StreamContract, UnchangedContract):
    @pytest.fixture
    def kind(self) -> ArchiverKind:
        return backapp_archivers()[0]

    @pytest.fixture
    def keys(self) -> Keys:
        return Keys(password=lambda: "secret")
