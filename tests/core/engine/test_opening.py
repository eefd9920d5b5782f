import hashlib
from pathlib import Path

import pytest
from attrs import field, frozen

from backapp_core.assembly import assemble
from backapp_core.errors import (
    DamagedRepository,
    InputError,
    InvalidAddress,
    InvalidSettings,
    RepositoryExists,
    RepositoryNotFound,
    TransportUnavailable,
    UnknownFormat,
    UnknownPlugin,
    WrongPassword,
)
from backapp_core.hookspecs import hookimpl
from backapp_core.ports.surroundings import Keys
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import MemoryTransport

PLACE = "fake:place"


def test_created_repository_is_recognised_by_itself(engine):
    with engine.create_repository(PLACE, archiver="memory", options={"motto": "x"}) as created:
        made = created.info
    with engine.open_repository(PLACE) as opened:
        assert opened.info == made
        assert engine.address_of(opened) == "fake:memory"


def test_nothing_there_says_how_to_begin(engine):
    with pytest.raises(RepositoryNotFound, match="create one with: backapp init -r"):
        engine.open_repository(PLACE)


def test_repository_is_restics_where_nobody_chose_and_needs_a_password(engine):
    folder = engine.surroundings.state_folder.parent / "repository"
    keys = Keys(password=lambda: "secret")
    with assemble(surroundings=engine.surroundings) as real:
        with pytest.raises(WrongPassword, match=r"--password-file, in Python with keys=keys_from"):
            real.create_repository(folder)
        assert not folder.exists()
        with real.create_repository(folder, keys=keys) as repository:
            assert (repository.info.archiver, repository.info.is_encrypted) == ("restic", True)
        with pytest.raises(WrongPassword, match="--password-file"):
            real.open_repository(folder)


def test_second_repository_at_one_place_is_refused(engine, fakes):
    engine.create_repository(PLACE, archiver="memory").close()
    before = fakes.buckets[PLACE].objects
    with pytest.raises(RepositoryExists, match="memory"):
        engine.create_repository(PLACE, archiver="memory")
    assert fakes.buckets[PLACE].objects == before


def test_place_with_other_files_is_refused(engine, fakes):
    engine.create_repository(PLACE, archiver="memory").close()
    bucket = fakes.buckets[PLACE]
    bucket.discard("config")
    bucket.store("holiday.jpg", b"", replace=False)
    with pytest.raises(InvalidAddress, match=r"holds other files, such as 'holiday\.jpg'"):
        engine.create_repository(PLACE, archiver="memory")
    assert set(bucket.objects) == {"holiday.jpg"}


def test_faulty_options_are_listed_and_change_nothing(engine, fakes):
    with pytest.raises(InvalidSettings, match="options of archiver memory") as caught:
        engine.create_repository(PLACE, archiver="memory", options={"motto": 1, "level": 9})
    assert {path for path, _ in caught.value.faults} == {"motto", "level"}
    assert fakes.buckets == {}


def test_unknown_archiver_is_named(engine):
    with pytest.raises(UnknownPlugin, match="no archiver called 'zip'; installed: memory"):
        engine.create_repository(PLACE, archiver="zip")


def test_newer_format_is_refused(engine, fakes):
    engine.create_repository(PLACE, archiver="memory").close()
    bucket = fakes.buckets[PLACE]
    body = bucket.objects["config"].partition(b"\n")[2].replace(b'"version": 1', b'"version": 9')
    newer = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    bucket.store("config", newer, replace=True)
    with pytest.raises(UnknownFormat, match="version 9"):
        engine.open_repository(PLACE)


def test_ruins_of_a_repository_are_no_place_for_a_new_one(engine):
    with assemble(surroundings=engine.surroundings) as real:
        place = engine.surroundings.state_folder.parent / "repository"
        with real.create_repository(place, archiver="targz") as repository:
            real.backup(repository, [__file__])
        (place / "backapp.json").unlink()
        with pytest.raises(
            DamagedRepository, match=r"looks like a targz repository whose backapp\.json is missing"
        ):
            real.open_repository(place)
        with pytest.raises(InvalidAddress, match="holds other files"):
            real.create_repository(place, archiver="targz")


@frozen
class Closing(MemoryTransport):
    closings: list[None] = field(factory=list)

    @property
    def address(self):
        return "gone:there"

    def stat(self, name):
        raise TransportUnavailable("the host gone:there does not answer")

    def close(self):
        self.closings.append(None)


@pytest.fixture
def transport():
    return Closing()


@pytest.fixture
def extra_plugins(transport):
    class Gone:
        @hookimpl
        def backapp_transports(self):
            return [TransportKind("gone", frozenset({"gone"}), str, str, lambda *_: transport)]

    return {"gone": Gone()}


def test_unreachable_place_raises_its_own_error_and_is_closed(engine, transport):
    with pytest.raises(TransportUnavailable, match="does not answer"):
        engine.open_repository("gone:there")
    with pytest.raises(TransportUnavailable, match="does not answer"):
        engine.create_repository("gone:there", archiver="memory")
    assert len(transport.closings) == 2


@pytest.mark.parametrize("address", [b"fake:memory", Path("fake:memory")])
def test_address_is_taken_in_every_form_of_a_path(engine, repository, address):
    with engine.open_repository(address) as again:
        assert again.info.id == repository.info.id


def test_address_that_is_no_path_is_refused(engine):
    with pytest.raises(InputError, match="5 is no path"):
        engine.open_repository(5)
