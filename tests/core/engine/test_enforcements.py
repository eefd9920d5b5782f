"""What a destination enforces is found out when a repository is made, remembered, and shown."""

import errno
import os

import pytest
from attrs import evolve, frozen

from backapp_core.engine import enforcements
from backapp_core.errors import AccessRefused, TransportUnavailable
from backapp_core.events import Level, LogLine
from backapp_core.hookspecs import hookimpl
from backapp_core.model.enforcements import Enforcement
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport

PLACE = "probed:memory"


ALL = Enforcement(create_only=True, signed_length=True, content_md5=True, sha256_checksum=True)
NONE = Enforcement(create_only=False, signed_length=False, content_md5=False, sha256_checksum=False)


@frozen
class ProbedTransport(MemoryTransport):
    offer: object = None

    def probe(self):
        self.offer.probed += 1
        if isinstance(self.offer.answer, Exception):
            raise self.offer.answer
        return self.offer.answer


class Offer:
    def __init__(self):
        self.bucket = MemoryBucket()
        self.answer = evolve(ALL, sha256_checksum=False)
        self.probed = 0

    @hookimpl
    def backapp_transports(self):
        opened = lambda address, surroundings: ProbedTransport(self.bucket, offer=self)  # noqa: E731  # one line
        return [TransportKind("probed", frozenset({"probed"}), str, str, opened)]


@pytest.fixture
def offer():
    return Offer()


@pytest.fixture
def extra_plugins(offer):
    return {"probed": offer}


def warnings(events):
    return [
        event.text
        for event in events.events
        if isinstance(event, LogLine) and event.level is Level.WARNING
    ]


def told(engine, **choices):
    found = engine.diagnose(PLACE, **choices)
    return {one.subject: one.message for one in found if "enforced" in one.subject}


def test_it_is_found_out_once_when_a_repository_is_made_and_remembered(engine, offer, events):
    with engine.create_repository(PLACE, archiver="memory") as repository:
        assert engine.upkeep(repository).enforcement() == offer.answer
    with engine.open_repository(PLACE) as repository:
        assert engine.upkeep(repository).enforcement() == offer.answer
    assert offer.probed == 1
    assert warnings(events) == []


def test_the_doctor_shows_what_is_known_and_tries_again_only_if_it_may(engine, offer):
    engine.create_repository(PLACE, archiver="memory").close()
    assert told(engine) == {
        "enforced": "that an object is not replaced, the length that was signed, Content-MD5",
        "not enforced": "the SHA-256 of the content",
    }
    assert offer.probed == 1
    offer.answer = NONE
    assert [*told(engine, probes_writing=True)] == ["not enforced"]
    assert [*told(engine)] == ["not enforced"]


def test_a_place_that_replaces_objects_is_warned_of(engine, offer, events):
    offer.answer = evolve(ALL, create_only=False)
    engine.create_repository(PLACE, archiver="memory").close()
    (warning,) = warnings(events)
    assert "one machine at a time" in warning


@pytest.mark.parametrize("error", [AccessRefused("no"), TransportUnavailable("gone")])
def test_that_it_cannot_be_found_out_does_not_undo_what_was_made(engine, offer, events, error):
    offer.answer = error
    with engine.create_repository(PLACE, archiver="memory") as repository:
        assert engine.upkeep(repository).enforcement() is None
    (warning,) = warnings(events)
    assert warning.endswith(error.message)
    assert told(engine) == {}


def test_other_places_have_no_need(engine, repository):
    assert engine.upkeep(repository).enforcement() is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"create_only": 5}'])
def test_a_record_that_cannot_be_read_counts_as_none(engine, offer, content):
    with engine.create_repository(PLACE, archiver="memory") as repository:
        (record,) = (engine.surroundings.state_folder / "enforcements").iterdir()
        record.write_bytes(content)
        assert engine.upkeep(repository).enforcement() is None


def test_a_state_folder_that_cannot_be_used_is_a_warning(engine, offer, events):
    folder = engine.surroundings.state_folder / "enforcements"
    folder.write_text("no folder")
    engine.create_repository(PLACE, archiver="memory").close()
    (warning,) = warnings(events)
    assert "cannot be remembered" in warning
    assert offer.probed == 1


def test_the_record_is_whole_or_not_there(engine, offer, monkeypatch, events):
    found = enforcements.find_out(
        engine.surroundings, ProbedTransport(offer.bucket, offer=offer), "0af3"
    )
    assert found == offer.answer
    folder = engine.surroundings.state_folder / "enforcements"
    assert [path.name for path in folder.iterdir()] == ["0af3.json"]
    before = (folder / "0af3.json").read_bytes()
    monkeypatch.setattr(os, "fsync", refuse)
    offer.answer = NONE
    enforcements.find_out(engine.surroundings, ProbedTransport(offer.bucket, offer=offer), "0af3")
    assert [path.name for path in folder.iterdir()] == ["0af3.json"]
    assert (folder / "0af3.json").read_bytes() == before
    (warning,) = warnings(events)
    assert "No space left" in warning


def refuse(_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
