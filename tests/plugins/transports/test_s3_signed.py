"""Requests signed for others at Ceph's gateway: exactly what was signed is done, nothing else."""

import hashlib
import http.client
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from attrs import evolve

from backapp_core.clock import SystemClock
from backapp_core.errors import InputError, ObjectExists, TransportError
from backapp_core.model.enforcements import Enforcement
from backapp_core.ports.buckets import CanListInOrder, CanPresignParts
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_plugins.transports.s3 import open_s3, parse_address

pytestmark = pytest.mark.interop

BODY = b"what was announced"


@pytest.fixture
def clock():
    return FrozenClock(SystemClock().now())


@pytest.fixture
def transport(gateway, bucket, clock, tmp_path, monkeypatch, request):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.owner[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.owner[1])
    prefix = f"signed/{request.node.name}".replace("[", "-").replace("]", "")
    settings = parse_address(f"s3:{gateway.endpoint}/{bucket}/{prefix}")
    with open_s3(settings, make_surroundings(tmp_path, clock=clock)) as transport:
        yield transport


def send(request, body=b""):
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.putrequest(request.method, f"{parts.path}?{parts.query}", skip_accept_encoding=True)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.endheaders(body or None)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def signed_put(transport, name="data/00/object", *, body=BODY, lifetime_seconds=60, **other):
    facts = {
        "size_bytes": len(body),
        "sha256": hashlib.sha256(body).digest(),
        "md5": hashlib.md5(body).digest(),
    }
    return transport.sign_put(name, **{**facts, **other}, lifetime_seconds=lifetime_seconds)


def with_header(request, name, value):
    return evolve(request, headers={**request.headers, name: value})


def test_whoever_holds_a_signed_request_may_send_it(transport):
    assert send(signed_put(transport), BODY) == (200, b"")
    assert transport.read("data/00/object") == BODY
    name = "data/00/object"
    whole = transport.sign_get(name, lifetime_seconds=60)
    assert send(whole) == (200, BODY)
    part = transport.sign_get(name, offset=5, length_bytes=3, lifetime_seconds=60)
    assert send(part) == (206, BODY[5:8])
    assert send(transport.sign_get(name, offset=5, lifetime_seconds=60)) == (206, BODY[5:])
    assert send(transport.sign_head(name, lifetime_seconds=60)) == (200, b"")
    assert send(transport.sign_head("absent", lifetime_seconds=60))[0] == 404
    assert send(transport.sign_delete(name, lifetime_seconds=60))[0] == 204
    assert [*transport.list()] == []


def test_any_name_and_an_empty_object_are_signed(transport):
    name = "Übergröße/a b+c%20=&/日本語~"
    assert send(signed_put(transport, name, body=b""), b"") == (200, b"")
    assert transport.read(name) == b""


@pytest.mark.parametrize("lie", ["key", "method", "length", "md5", "sha256", "condition", "range"])
def test_what_was_signed_cannot_be_changed(transport, lie):
    request = signed_put(transport)
    body = BODY
    if lie == "key":
        request = evolve(request, url=request.url.replace("/object?", "/others?"))
    elif lie == "method":
        request = transport.sign_get("x", lifetime_seconds=60)
        request, body = evolve(request, method="PUT"), b""
    elif lie == "length":
        request, body = with_header(request, "content-length", "19"), BODY + b"!"
    elif lie in {"md5", "sha256"}:
        other = hashlib.new(lie, b"other").digest()
        request = signed_put(transport, **{lie: other})
    elif lie == "condition":
        headers = {k: v for k, v in request.headers.items() if k != "if-none-match"}
        request = evolve(request, headers=headers)
    else:
        request = transport.sign_get("x", length_bytes=1, lifetime_seconds=60)
        request, body = with_header(request, "range", "bytes=0-1"), b""
    status, _ = send(request, body)
    assert status in {400, 403}
    assert [*transport.list()] == []


def test_another_body_of_the_same_length_is_refused(transport):
    status, content = send(signed_put(transport), BODY.upper())
    assert status == 400
    assert b"XAmzContentSHA256Mismatch" in content or b"BadDigest" in content
    assert [*transport.list()] == []


def test_a_forged_signature_is_refused(transport):
    request = signed_put(transport)
    last = "0" if request.url[-1] != "0" else "1"
    assert send(evolve(request, url=request.url[:-1] + last), BODY)[0] == 403
    forged = request.url.replace("X-Amz-Expires=60", "X-Amz-Expires=900")
    assert send(evolve(request, url=forged), BODY)[0] == 403
    assert [*transport.list()] == []


def test_an_expired_request_is_refused(transport, clock):
    """Signed two seconds ago for one second."""
    clock.set(clock.now() - timedelta(seconds=2))
    request = signed_put(transport, lifetime_seconds=1)
    assert request.expires_at <= SystemClock().now()
    assert send(request, BODY)[0] == 403
    assert [*transport.list()] == []


def test_a_second_put_is_refused(transport):
    request = signed_put(transport)
    assert send(request, BODY)[0] == 200
    assert send(request, BODY)[0] == 412
    assert send(signed_put(transport, body=b"other"), b"other")[0] == 412
    assert transport.read("data/00/object") == BODY


def test_this_server_enforces_everything_and_the_probe_leaves_nothing(transport, gateway, bucket):
    assert transport.probe() == Enforcement(
        create_only=True, signed_length=True, content_md5=True, sha256_checksum=True
    )
    prefix = transport.address.partition(f"{bucket}/")[2]
    assert gateway.client().list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 0


# --- objects that others send in parts


def send_parts(transport, name, upload, bodies):
    """Send parts as somebody without keys does, and return what completes them."""
    tags = []
    for number, body in enumerate(bodies, 1):
        request = transport.sign_part(
            name,
            upload,
            number,
            size_bytes=len(body),
            sha256=hashlib.sha256(body).digest(),
            md5=hashlib.md5(body).digest(),
            lifetime_seconds=60,
        )
        assert send(request, b"x" * len(body))[0] in range(400, 500)
        assert send(request, body)[0] == 200
        tags.append((number, hashlib.md5(body).hexdigest()))
    return tags


BODIES = [b"a" * (5 << 20), b"the end"]


def test_parts_that_others_sent_become_one_object(transport):
    assert isinstance(transport, CanPresignParts)
    upload = transport.begin_upload("archives/large")
    tags = send_parts(transport, "archives/large", upload, BODIES)
    assert [*transport.list()] == []
    for _ in range(2):  # an answer may have been lost
        transport.complete_upload("archives/large", upload, tags)
    assert transport.read("archives/large") == b"".join(BODIES)
    with pytest.raises(InputError):
        transport.complete_upload("archives/large", upload, tags[1:])


def test_parts_replace_no_object(transport):
    transport.put("archives/large", [b"ours"])
    upload = transport.begin_upload("archives/large")
    tags = send_parts(transport, "archives/large", upload, BODIES)
    with pytest.raises(ObjectExists):
        transport.complete_upload("archives/large", upload, tags)
    assert transport.read("archives/large") == b"ours"
    transport.abandon_upload("archives/large", upload)  # gone by now, which is fine
    transport.delete("archives/large")
    with pytest.raises(TransportError):
        transport.complete_upload("archives/large", upload, tags)
    assert [*transport.list()] == []


def test_a_listing_begins_in_the_middle(transport):
    assert isinstance(transport, CanListInOrder)
    names = [f"data/{number:02}" for number in range(7)]
    for name in (*names, "other", "snapshots/1"):
        transport.put(name, [b"x"])
    first = transport.list_after("data/", "", most=3)
    assert ([info.name for info in first.objects], first.next_after) == (names[:3], "data/02")
    rest = transport.list_after("data/", "data/02", most=1000)
    assert ([info.name for info in rest.objects], rest.next_after) == (names[3:], "")
    assert transport.list_after("data/", "zzz", most=1000).objects == []
    assert [info.name for info in transport.list_after("", "data/06", most=9).objects] == [
        "other",
        "snapshots/1",
    ]
