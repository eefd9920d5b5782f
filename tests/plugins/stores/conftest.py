import shutil
from pathlib import Path

import pytest

from backapp_core.ports.surroundings import Surroundings
from backapp_plugins.stores.sql import open_fleet, open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "backapp.db"


@pytest.fixture
def surroundings(tmp_path):
    return Surroundings(cache_folder=tmp_path / "c", state_folder=tmp_path / "s")


@pytest.fixture
def open_at(surroundings):
    opened = []

    def open_at(where: Path | str, open_it=open_store):
        url = where if isinstance(where, str) else f"sqlite://{where}"
        opened.append(open_it(url, surroundings))
        return opened[-1]

    yield open_at
    for store in opened:
        store.close()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """A store without anything in it, to be copied: making the tables takes a while."""
    folder = tmp_path_factory.mktemp("empty")
    path = folder / "empty.db"
    open_store(f"sqlite://{path}", Surroundings(cache_folder=folder, state_folder=folder)).close()
    return path


@pytest.fixture
def sqlite_fleet(open_at, empty_file, tmp_path):
    shutil.copy(empty_file, tmp_path / "fleet.db")
    return open_at(tmp_path / "fleet.db", open_fleet)


@pytest.fixture(scope="session")
def empty_database(postgres, tmp_path_factory):
    """The name of a store without anything in it, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    name = postgres.new()
    surroundings = Surroundings(cache_folder=folder, state_folder=folder)
    open_store(postgres.url_of(name), surroundings).close()
    return name


@pytest.fixture
def postgres_database(postgres, empty_database):
    name = postgres.new(empty_database)
    yield name
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres, postgres_database):
    return postgres.url_of(postgres_database)


@pytest.fixture
def postgres_fleet(open_at, postgres_url):
    return open_at(postgres_url, open_fleet)
