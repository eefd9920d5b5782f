import re
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from backapp_core.ports.surroundings import Surroundings
from backapp_plugins.stores.sql import open_fleet, open_store
from backapp_plugins.stores.sql.tables import METADATA


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


OWNED = {name for name, table in METADATA.tables.items() if "tenant_id" in table.c}
# What is asked before it is known whose something is, by something that is unique in all tenants.
UNIQUE = re.compile(r"\b(token_hash|key_hash|email) = \?")
FOR_ALL = {
    "SELECT users.id FROM users LIMIT ? OFFSET ?",
    "DELETE FROM sessions WHERE sessions.expires_at <=",
}


@pytest.fixture(scope="session")
def is_stray():
    return could_touch_all


def could_touch_all(statement):
    """Say whether a statement could touch what belongs to any tenant."""
    flat = " ".join(statement.split())
    named = set(re.findall(r"(?:FROM|UPDATE|INTO|JOIN) (\w+)", flat))
    if not named & OWNED or any(flat.startswith(known) for known in FOR_ALL):
        return False
    if flat.startswith("INSERT"):
        return "tenant_id" not in flat
    parts = re.split(r"\bSELECT\b", flat.partition(" WHERE ")[2])
    return not UNIQUE.search(flat) and not all("tenant_id = ?" in part for part in parts)


@pytest.fixture
def sqlite_fleet(open_at, empty_file, tmp_path):
    """A fleet whose every statement has to say whose rows it means."""
    shutil.copy(empty_file, tmp_path / "fleet.db")
    fleet = open_at(tmp_path / "fleet.db", open_fleet)
    stray = []

    def look(connection, cursor, statement, *rest):
        if could_touch_all(statement):
            stray.append(statement)

    sa.event.listen(fleet._database.engine, "before_cursor_execute", look)
    yield fleet
    assert stray == []


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
