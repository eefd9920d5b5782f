"""Signatures are those of Amazon's own library, and stand for exactly one request."""

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import evolve
from botocore import auth, loaders
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from backapp_core.errors import InputError, InvalidName
from backapp_core.ports.transports import CanPresign, CanProbe, CanTidy
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_plugins.transports.s3 import S3Options, open_s3, parse_address

NOW = datetime(2026, 3, 4, 5, 6, 7, 891, tzinfo=UTC)
BODY = b"content"
FACTS = {
    "size_bytes": len(BODY),
    "sha256": hashlib.sha256(BODY).digest(),
    "md5": hashlib.md5(BODY).digest(),
    "lifetime_seconds": 300,
}


@pytest.fixture
def opened(tmp_path, monkeypatch):
    transports = []
    monkeypatch.setenv("HOME", str(tmp_path))

    def opened(address="s3:https://store.example:9000/bucket/some/prefix", token="", **options):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an/access+key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary/secret+key")
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
        settings = evolve(parse_address(address), options=S3Options(**options))
        surroundings = make_surroundings(tmp_path, clock=FrozenClock(NOW))
        transports.append(open_s3(settings, surroundings))
        return transports[-1]

    yield opened
    for transport in transports:
        transport.close()


def query_of(request):
    return {name: value[0] for name, value in parse_qs(urlsplit(request.url).query).items()}


def by_the_library(request, monkeypatch, *, region, token=None, lifetime_seconds=300):
    """Return the URL that Amazon's library makes of the same request."""
    monkeypatch.setattr(auth, "get_current_datetime", lambda: NOW)
    plain = AWSRequest(
        method=request.method, url=request.url.partition("?")[0], headers=dict(request.headers)
    )
    keys = Credentials("an/access+key", "canary/secret+key", token)
    auth.S3SigV4QueryAuth(keys, "s3", region, expires=lifetime_seconds).add_auth(plain)
    return plain.url


def every_request(transport):
    return [
        transport.sign_put("data/00/ü b+c&=~", **FACTS),
        transport.sign_get("data/00/x", lifetime_seconds=300),
        transport.sign_get("x", offset=5, lifetime_seconds=300),
        transport.sign_get("x", offset=5, length_bytes=7, lifetime_seconds=300),
        transport.sign_head("x", lifetime_seconds=300),
        transport.sign_delete("locks/x", lifetime_seconds=300),
    ]


def test_descriptions_of_services_are_read_once_for_all_clients(opened, monkeypatch):
    opened()
    read = []
    monkeypatch.setattr(loaders.JSONFileLoader, "load_file", lambda _, path: read.append(path))
    other = opened("s3:https://another.example/bucket")
    assert other.sign_head("x", lifetime_seconds=300).method == "HEAD"
    assert read == []


@pytest.mark.parametrize("token", ["", "a/session+token=="])
@pytest.mark.parametrize(
    "address",
    [
        "s3:https://store.example:9000/bucket/some/prefix",
        "s3:http://127.0.0.1/bucket",
        "s3:s3.eu-central-1.amazonaws.com/bucket.x/prefix",
        "s3://bucket/x y",
    ],
)
def test_signatures_are_those_of_amazons_library(opened, monkeypatch, address, token):
    transport = opened(address, token, region="eu-central-1")
    for request in every_request(transport):
        theirs = by_the_library(request, monkeypatch, region="eu-central-1", token=token or None)
        theirs_query = {k: v[0] for k, v in parse_qs(urlsplit(theirs).query).items()}
        assert query_of(request) == theirs_query
        assert urlsplit(request.url)[:3] == urlsplit(theirs)[:3]


def test_the_headers_that_are_signed_are_these(opened):
    transport = opened()
    request = transport.sign_put("data/x", **FACTS)
    assert query_of(request)["X-Amz-SignedHeaders"].split(";") == [
        "content-length",
        "content-md5",
        "host",
        "if-none-match",
        "x-amz-checksum-sha256",
        "x-amz-content-sha256",
    ]
    assert request.headers == {
        "content-length": "7",
        "content-md5": "mgNkuembtIDdJeHwKEyFVQ==",
        "if-none-match": "*",
        "x-amz-checksum-sha256": "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=",
        "x-amz-content-sha256": hashlib.sha256(BODY).hexdigest(),
    }
    ranged = transport.sign_get("x", offset=5, length_bytes=7, lifetime_seconds=1)
    assert query_of(ranged)["X-Amz-SignedHeaders"] == "host;range"
    assert ranged.headers == {"range": "bytes=5-11"}
    assert query_of(transport.sign_delete("x", lifetime_seconds=1))["X-Amz-SignedHeaders"] == "host"


def test_a_request_says_what_when_and_how_long(opened):
    request = opened().sign_put("data/x", **FACTS)
    assert request.method == "PUT"
    assert request.url.startswith("https://store.example:9000/bucket/some/prefix/data/x?")
    query = query_of(request)
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Expires"] == "300"
    assert query["X-Amz-Credential"] == "an/access+key/20260304/us-east-1/s3/aws4_request"
    assert request.expires_at == NOW.replace(microsecond=0) + timedelta(seconds=300)
    assert "canary" not in request.url
    assert "Signature" not in repr(request)


@pytest.mark.parametrize(
    "change",
    [
        {"size_bytes": -1},
        {"size_bytes": (5 << 30) + 1},
        {"sha256": b"short"},
        {"md5": b"short"},
        {"lifetime_seconds": 0},
        {"lifetime_seconds": 901},
    ],
)
def test_what_cannot_be_signed_is_refused(opened, change):
    with pytest.raises(InputError):
        opened().sign_put("data/x", **{**FACTS, **change})


@pytest.mark.parametrize("given", [{"offset": -1}, {"length_bytes": 0}, {"lifetime_seconds": 901}])
def test_ranges_and_lifetimes_that_are_none_are_refused(opened, given):
    with pytest.raises(InputError):
        opened().sign_get("x", **{"lifetime_seconds": 1, **given})


@pytest.mark.parametrize("name", ["../config", "data//x", "", ".hidden", "a\nb"])
def test_bad_names_are_not_signed(opened, name):
    transport = opened()
    for sign in (transport.sign_get, transport.sign_head, transport.sign_delete):
        with pytest.raises(InvalidName):
            sign(name, lifetime_seconds=1)
    with pytest.raises(InvalidName):
        transport.sign_put(name, **FACTS)


def test_the_bucket_stands_where_the_server_expects_it(opened):
    def url(address, **options):
        return opened(address, **options).sign_head("x", lifetime_seconds=1).url.partition("?")[0]

    assert url("s3:https://h.example/bucket/p") == "https://h.example/bucket/p/x"
    virtual = url("s3:https://h.example/bucket/p", addressing="virtual")
    assert virtual == "https://bucket.h.example/p/x"
    assert url("s3://bucket/p", region="eu-central-1") == (
        "https://bucket.s3.eu-central-1.amazonaws.com/p/x"
    )
    dotted = "https://s3.eu-central-1.amazonaws.com/bucket.x/p/x"
    assert url("s3://bucket.x/p", region="eu-central-1") == dotted
    assert url("s3:s3.eu-central-1.amazonaws.com/bucket.x/p") == dotted
    assert url("s3://bucket/p", endpoint="http://h.example:1") == "http://h.example:1/bucket/p/x"


def test_the_powers_are_those_of_the_ports(opened):
    transport = opened()
    for power in (CanPresign, CanProbe, CanTidy):
        assert isinstance(transport, power)
