"""What an agent sends and fetches keeps the limits of the line while it goes, not on average."""

import pytest

from backapp_core.errors import RunCancelled
from backapp_core.ports.line import Line, Pace
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.fakes import repeatable_random_bytes
from backapp_plugins.transports.presigned import KIND

pytestmark = pytest.mark.thorough

DATA = repeatable_random_bytes(3)(1 << 20)
KEY = "/bucket/folder/object"


def test_it_waits_by_itself_before_it_sends():
    assert KIND.paces_uploads


def test_what_is_sent_waits_piece_by_piece(make, fake_s3, clock):
    began_at = clock.monotonic_seconds()
    with make(line=Line(upload=Pace(64 << 10))) as transport:
        assert transport.put("object", [DATA]) == 1 << 20
        assert fake_s3.objects[KEY][0] == DATA
        assert clock.monotonic_seconds() - began_at == pytest.approx(16 - 1 / 8)
        assert transport.put("empty", []) == 0


def test_parts_wait_as_well(make, fake_s3, clock):
    began_at = clock.monotonic_seconds()
    with make(line=Line(upload=Pace(128 << 10))) as transport:
        assert transport.put("object", [DATA, b"more"]) == (1 << 20) + 4
    assert fake_s3.objects[KEY][0] == DATA + b"more"
    assert clock.monotonic_seconds() - began_at == pytest.approx(8 - 1 / 8, abs=0.01)


def test_what_is_sent_again_waits_again(make, fake_s3, clock):
    fake_s3.fail("PUT", (400, "BadDigest"))
    began_at = clock.monotonic_seconds()
    with make(line=Line(upload=Pace(64 << 10))) as transport:
        transport.put("object", [DATA])
    assert clock.monotonic_seconds() - began_at > 2 * 16 - 1 / 8


def test_answers_are_read_in_small_sips(make, fake_s3):
    with make(line=Line(download=Pace(512 << 10))) as transport:
        transport.put("object", [DATA])
        lengths = [len(chunk) for chunk in transport.get("object")]
    assert sum(lengths) == 1 << 20
    assert max(lengths) == 16 << 10


@pytest.mark.parametrize("more", [b"", DATA * 2], ids=["whole", "in-parts"])
def test_stopping_ends_the_waiting_and_nothing_is_stored(make, fake_s3, clock, more):
    cancel = CancelToken()
    began_at = clock.monotonic_seconds()

    def body():
        yield DATA
        cancel.cancel()
        yield more

    line = Line(upload=Pace(1 << 10))
    with make(cancel=cancel, line=line) as transport, pytest.raises(RunCancelled):
        transport.put("object", body())
    assert clock.monotonic_seconds() - began_at < 1
    assert (fake_s3.objects, fake_s3.uploads) == ({}, {})
