"""A new repository is made on this machine first, and stored from there; here into a folder."""

import json
import os
import shutil

import pytest
from attrs import evolve

from backapp_core.engine import opening
from backapp_core.engine.agent_creation import forget, store_new
from backapp_core.errors import InputError, InvalidAddress, RepositoryExists
from backapp_core.ports.surroundings import Keys
from backapp_core.testing.fakes import make_surroundings

KEYS = Keys(password=lambda: "only for trying")
CONFIG = {"restic": "config", "targz": "backapp.json"}


@pytest.fixture(params=sorted(CONFIG))
def archiver(request):
    return request.param


@pytest.fixture
def around(tmp_path):
    return evolve(make_surroundings(tmp_path / "around"), random_bytes=os.urandom)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "place"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "new" / "one.json"


@pytest.fixture
def store(plugins, around, place, file, archiver):
    def store():
        store_new(plugins, around, str(place), archiver=archiver, keys=KEYS, file=file)

    return store


def stored(place):
    paths = (path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): path.read_bytes() for path in paths}


def test_what_was_stored_is_a_repository(store, plugins, around, place, file):
    store()
    with opening.open_repository(plugins, around, str(place), KEYS).repository as repository:
        assert list(repository.snapshots()) == []
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    forget(file)
    forget(file)
    assert not file.exists()


def test_what_makes_a_repository_of_it_is_stored_last(store, file, archiver):
    store()
    names = [name for name, _ in json.loads(file.read_bytes())["objects"]]
    assert names[-1] == CONFIG[archiver]


def test_after_an_interruption_the_very_same_is_stored(store, place, archiver):
    """Also when all but the description was there already."""
    store()
    before = stored(place)
    (place / CONFIG[archiver]).unlink()
    store()
    assert stored(place) == before
    store()
    assert stored(place) == before


def test_repository_that_somebody_put_there_meanwhile_is_not_taken_for_ones_own(
    store, place, plugins, around, archiver
):
    store()
    shutil.rmtree(place)
    opening.create_repository(
        plugins, around, str(place), archiver=archiver, options={}, keys=KEYS
    ).repository.close()
    before = stored(place)
    with pytest.raises(RepositoryExists):
        store()
    assert stored(place) == before


def test_what_a_process_left_that_ended_while_it_made_one_is_in_nobodys_way(store, place, file):
    left = file.with_suffix(".making")
    (left / "keys").mkdir(parents=True)
    (left / "keys" / ("0" * 64)).write_text("half a key")
    store()
    assert not left.exists()
    assert f"keys/{'0' * 64}" not in stored(place)


def test_where_something_else_stands_nothing_is_made(store, place, file):
    place.mkdir()
    (place / "holiday.jpg").write_text("a beach")
    with pytest.raises(InvalidAddress, match=r"holiday\.jpg"):
        store()
    assert not file.exists()


def test_another_object_of_the_same_name_is_not_taken_for_ones_own(store, place, file):
    """Such as the description of somebody's repository whose key cannot be seen."""
    store()
    name = json.loads(file.read_bytes())["objects"][0][0]
    for one in stored(place):
        (place / one).unlink()
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text("of somebody else")
    with pytest.raises(RepositoryExists):
        store()
    assert stored(place) == {name: b"of somebody else"}


@pytest.mark.parametrize(
    "content",
    ["{ cut sho", '{"objects": 1}', '{"objects": [["keys/0", "00"], ["config", "0"]]}', "\udcff"],
)
def test_file_that_cannot_be_used_is_named_and_nothing_is_stored(store, place, file, content):
    file.parent.mkdir()
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"one\.json"):
        store()
    assert stored(place) == {}
