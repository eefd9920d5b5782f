"""The `files` scanner keeps the contract of all scanners."""

import pytest
from typing_extensions import override

from backapp_core.testing.scanner_contract import OpenScanner, ScannerContract
from backapp_plugins.scanners.files import FilesSettings, open_files


class TestFiles(ScannerContract):
    @override
    @pytest.fixture
    def open_scanner(self) -> OpenScanner:
        return lambda roots, surroundings: open_files(
            FilesSettings(roots=tuple(roots)), surroundings
        )
