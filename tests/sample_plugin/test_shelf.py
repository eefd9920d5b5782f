"""The conformance kit, as a stranger uses it; the class stands in the how-to, too."""

import itertools
import sys
from pathlib import Path

import pytest

from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.transport_contract import TransportContract

sys.path.insert(0, str(Path(__file__).parent / "src"))

from backapp_shelf.shelf import ShelfSettings, open_shelf  # not installed here

pytestmark = pytest.mark.slow  # SQLite synchronises thousands of times


class TestShelf(TransportContract):
    @pytest.fixture
    def reopen(self, tmp_path):
        settings = ShelfSettings(str(tmp_path / "shelf.db"))
        seeds = itertools.count()
        return lambda: open_shelf(settings, make_surroundings(tmp_path, seed=next(seeds)))
