"""What is sent to a bucket and fetched from it keeps the limits of the line while it goes."""

import itertools

import pytest

from backapp_core.engine.pacing import POWERS, paced
from backapp_core.errors import RunCancelled
from backapp_core.ports.line import Line, Pace
from backapp_core.ports.surroundings import CancelToken
from backapp_core.ports.transports import CanPresign
from backapp_core.testing.fakes import FrozenClock, make_surroundings, repeatable_random_bytes
from backapp_plugins.transports.s3 import KIND, open_s3, parse_address

pytestmark = pytest.mark.interop

_numbers = itertools.count()
DATA = repeatable_random_bytes(3)(1 << 20)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def prefix():
    return f"limits-{next(_numbers)}"


@pytest.fixture
def opened(gateway, bucket, prefix, tmp_path, monkeypatch, clock):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.owner[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.owner[1])
    settings = parse_address(f"s3:{gateway.endpoint}/{bucket}/{prefix}")
    transports = []

    def opened(*, upload=None, download=None, **more):
        line = Line(upload=Pace(upload), download=Pace(download))
        around = make_surroundings(tmp_path, line=line, **{"clock": clock, **more})
        transports.append(open_s3(settings, around))
        return transports[-1]

    yield opened
    for transport in transports:
        transport.close()


def stored(gateway, bucket, prefix):
    client = gateway.client()
    objects = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=f"{prefix}/").get("Uploads", [])
    return objects + uploads


def test_it_waits_by_itself_before_it_sends():
    assert KIND.paces_uploads


def test_what_is_sent_waits_piece_by_piece(opened, clock):
    transport = opened(upload=64 << 10)
    assert transport.put("object", [DATA]) == 1 << 20
    assert clock.monotonic_seconds() == pytest.approx(16 - 1 / 8)
    assert transport.read("object") == DATA
    assert transport.put("empty", []) == 0
    assert clock.monotonic_seconds() == pytest.approx(16 - 1 / 8)


def test_parts_wait_as_well(opened, clock):
    transport = opened(upload=1 << 20)
    assert transport.put("object", [DATA] * 17) == 17 << 20
    assert clock.monotonic_seconds() == pytest.approx(17 - 1 / 8, abs=0.01)
    assert transport.read("object") == DATA * 17


def test_answers_are_read_in_small_sips(opened):
    transport = opened(download=512 << 10)
    transport.put("object", [DATA])
    lengths = [len(chunk) for chunk in transport.get("object")]
    assert sum(lengths) == 1 << 20
    assert max(lengths) == 16 << 10


def test_a_server_under_limits_still_signs(opened, tmp_path):
    around = make_surroundings(tmp_path, line=Line(upload=Pace(1 << 20)))
    transport = paced(opened(upload=1 << 20), around, paces_uploads=KIND.paces_uploads)
    assert [power for power in POWERS if not isinstance(transport, power)] == []
    assert isinstance(transport, CanPresign)
    assert transport.sign_head("object", lifetime_seconds=5).method == "HEAD"


class Stopping(FrozenClock):
    """Somebody wishes to stop when a minute has passed."""

    def __init__(self, cancel):
        super().__init__()
        self.cancel = cancel

    def wait(self, seconds):
        super().wait(seconds)
        if self.monotonic_seconds() > 60:
            self.cancel.cancel()


@pytest.mark.parametrize("chunks", [1, 17])
def test_stopping_ends_the_waiting_and_nothing_is_stored(opened, gateway, bucket, prefix, chunks):
    cancel = CancelToken()
    clock = Stopping(cancel)
    transport = opened(upload=1 << 10, cancel=cancel, clock=clock)
    with pytest.raises(RunCancelled):
        transport.put("object", [DATA] * chunks)
    assert clock.monotonic_seconds() < 61
    assert stored(gateway, bucket, prefix) == []
