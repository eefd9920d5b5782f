"""The S3 transport keeps the contract on Ceph's gateway, and nothing of a broken transfer stays."""

import hashlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from backapp_core.errors import ObjectExists, RunCancelled
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_core.testing.transport_contract import TransportContract
from backapp_plugins.transports.s3 import open_s3, parse_address

pytestmark = pytest.mark.interop

_numbers = itertools.count()
LARGE = [b"x" * (1 << 20)] * 17  # more than what is sent in one request when its size is not said


@pytest.fixture
def prefix():
    return f"some/prefix-{next(_numbers)}"


@pytest.fixture(autouse=True)
def _keys(gateway, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.owner[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.owner[1])


@pytest.fixture
def reopen(gateway, bucket, prefix, tmp_path):
    settings = parse_address(f"s3:{gateway.endpoint}/{bucket}/{prefix}")
    return lambda: open_s3(settings, make_surroundings(tmp_path))


class TestS3(TransportContract):
    @pytest.fixture
    def reopen(self, reopen):
        return reopen

    @pytest.fixture
    def place_foreign(self, gateway, bucket, prefix):
        client = gateway.client()
        return lambda name: client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=b"x")


@pytest.fixture
def transport(reopen):
    with reopen() as transport:
        transport.prepare()
        yield transport


def uploads(gateway, bucket, prefix):
    listed = gateway.client().list_multipart_uploads(Bucket=bucket, Prefix=f"{prefix}/")
    return [one["Key"] for one in listed.get("Uploads", ())]


def keys(gateway, bucket, prefix):
    listed = gateway.client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")
    return [one["Key"].removeprefix(f"{prefix}/") for one in listed.get("Contents", ())]


def test_a_large_object_is_made_of_parts_and_nothing_else_stays(transport, gateway, bucket, prefix):
    assert transport.put("large", LARGE) == 17 << 20
    assert transport.put("said", LARGE * 4, size_bytes=68 << 20) == 68 << 20
    head = gateway.client().head_object(Bucket=bucket, Key=f"{prefix}/said")
    assert head["ETag"].endswith('-5"')
    assert hashlib.sha256(transport.read("said")).digest() == (
        hashlib.sha256(b"x" * (68 << 20)).digest()
    )
    assert keys(gateway, bucket, prefix) == ["large", "said"]
    assert uploads(gateway, bucket, prefix) == []


@pytest.mark.parametrize("error", [RunCancelled("stop"), KeyboardInterrupt(), OSError(5, "x")])
def test_an_upload_whose_body_raises_is_taken_back(transport, gateway, bucket, prefix, error):
    def body():
        yield from LARGE
        assert uploads(gateway, bucket, prefix) == [f"{prefix}/large"]
        raise error

    with pytest.raises(type(error)) as raised:
        transport.put("large", body())
    assert raised.value is error
    assert uploads(gateway, bucket, prefix) == []
    assert keys(gateway, bucket, prefix) == []


def test_a_large_object_does_not_replace_what_was_stored_meanwhile(
    transport, gateway, bucket, prefix
):
    def body():
        yield from LARGE
        transport.put("object", [b"theirs"])

    with pytest.raises(ObjectExists):
        transport.put("object", body())
    assert transport.read("object") == b"theirs"
    assert uploads(gateway, bucket, prefix) == []
    assert keys(gateway, bucket, prefix) == ["object"]


def test_of_several_large_writers_of_one_name_exactly_one_succeeds(
    reopen, transport, gateway, bucket, prefix
):
    """Though this server ignores the condition when parts become an object."""
    barrier = threading.Barrier(4)

    def write(writer):
        def body():
            yield bytes([writer]) * (17 << 20)
            barrier.wait(60)

        with reopen() as own:
            try:
                return own.put("object", body()) and writer
            except ObjectExists:
                return None

    with ThreadPoolExecutor(4) as pool:
        winners = [one for one in pool.map(write, range(1, 5)) if one]
    assert len(winners) == 1
    assert transport.read("object", length_bytes=1) == bytes(winners)
    assert transport.stat("object").size_bytes == 17 << 20
    assert uploads(gateway, bucket, prefix) == []
    assert keys(gateway, bucket, prefix) == ["object"]


def test_a_claim_that_somebody_else_holds_is_waited_for_and_not_touched(
    transport, gateway, bucket, prefix, tmp_path
):
    client = gateway.client()
    claim = (
        f"{prefix}/.backapp-claims/{hashlib.sha256(f'{prefix}/object'.encode()).hexdigest()[:32]}"
    )
    client.put_object(Bucket=bucket, Key=claim, Body=b"theirs")
    cancel = CancelToken()

    def body():
        yield from LARGE
        cancel.cancel()  # or it would wait for ten minutes

    settings = parse_address(f"s3:{gateway.endpoint}/{bucket}/{prefix}")
    with (
        open_s3(settings, make_surroundings(tmp_path, cancel=cancel)) as waiting,
        pytest.raises(RunCancelled),
    ):
        waiting.put("object", body())
    assert uploads(gateway, bucket, prefix) == []
    assert client.get_object(Bucket=bucket, Key=claim)["Body"].read() == b"theirs"


def test_tidying_takes_what_was_left_for_a_day_and_counts_it(gateway, bucket, prefix, tmp_path):
    client = gateway.client()
    begun = client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}/large")["UploadId"]
    client.upload_part(
        Bucket=bucket, Key=f"{prefix}/large", UploadId=begun, PartNumber=1, Body=b"x"
    )
    client.put_object(Bucket=bucket, Key=f"{prefix}/.backapp-probe-1-name", Body=b"x")
    client.put_object(Bucket=bucket, Key=f"{prefix}/object", Body=b"x")
    client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}-other/large")
    settings = parse_address(f"s3:{gateway.endpoint}/{bucket}/{prefix}")
    clock = FrozenClock(datetime.now(UTC) + timedelta(hours=23))
    with open_s3(settings, make_surroundings(tmp_path, clock=clock)) as transport:
        assert transport.tidy(older_than_seconds=0) == 0
        clock.advance(7200)
        assert transport.tidy(older_than_seconds=90_000_000) == 0
        assert transport.tidy(older_than_seconds=0) == 2
        assert transport.tidy(older_than_seconds=0) == 0
    assert uploads(gateway, bucket, prefix) == []
    assert keys(gateway, bucket, prefix) == ["object"]
    assert uploads(gateway, bucket, f"{prefix}-other") == [f"{prefix}-other/large"]
