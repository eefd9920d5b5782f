"""The tar.gz archiver keeps the contract of archivers, plain and sealed."""

from pathlib import Path

import pyrage
import pytest

from backapp_core.plugin_api import ArchiverKind, Keys
from backapp_core.testing.archiver_contract import ArchiverContract
from backapp_core.testing.lock_waiting_contract import LockWaitingContract
from backapp_core.testing.unchanged_contract import UnchangedContract
from backapp_plugins.archivers.targz import backapp_archivers
from backapp_plugins.archivers.targz.settings import TargzSettings


class TestTargz(ArchiverContract, LockWaitingContract, UnchangedContract):
    @pytest.fixture
    def kind(self) -> ArchiverKind:
        return backapp_archivers()[0]


class TestSealedTargz(ArchiverContract):
    @pytest.fixture
    def kind(self) -> ArchiverKind:
        return backapp_archivers()[0]

    @pytest.fixture
    def identity(self) -> pyrage.x25519.Identity:
        return pyrage.x25519.Identity.generate()

    @pytest.fixture
    def settings(self, identity) -> TargzSettings:
        return TargzSettings(recipients=(str(identity.to_public()),))

    @pytest.fixture
    def keys(self, identity, tmp_path: Path) -> Keys:
        file = tmp_path / "identity.txt"
        file.write_text(f"# a comment\n{identity}\n")
        return Keys(identity_files=(file,))
