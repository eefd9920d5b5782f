from pathlib import Path

import pytest

from backapp_core.ports.surroundings import Surroundings
from backapp_plugins.stores.sql import open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "backapp.db"


@pytest.fixture
def open_at(tmp_path):
    opened = []

    def open_at(where: Path | str):
        url = where if isinstance(where, str) else f"sqlite://{where}"
        opened.append(
            open_store(url, Surroundings(cache_folder=tmp_path / "c", state_folder=tmp_path / "s"))
        )
        return opened[-1]

    yield open_at
    for store in opened:
        store.close()
