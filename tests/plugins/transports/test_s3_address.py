"""Which addresses name a bucket, and that what is shown of one is read alike."""

import pytest

from backapp_core.errors import InvalidAddress
from backapp_plugins.transports.s3 import S3Address, parse_address
from backapp_plugins.transports.s3.address import parse_s3


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://bucket", S3Address("bucket")),
        ("s3://bucket/", S3Address("bucket")),
        ("s3://bucket/a/b/", S3Address("bucket", "a/b")),
        ("s3://bucket.with.dots/a b%20c", S3Address("bucket.with.dots", "a b%20c")),
        ("s3:https://host/bucket/a/b", S3Address("bucket", "a/b", "https://host")),
        ("s3:http://Host:9000/bucket", S3Address("bucket", "", "http://host:9000")),
        ("s3:http://host//bucket/x%20y/ü", S3Address("bucket", "x y/ü", "http://host")),
        ("s3:host/bucket/prefix", S3Address("bucket", "prefix", "https://host")),
        ("s3:host:443/bucket", S3Address("bucket", "", "https://host:443")),
        ("s3:[::1]:80/bucket", S3Address("bucket", "", "https://[::1]:80")),
        ("s3:s3.amazonaws.com/bucket/x", S3Address("bucket", "x", "https://s3.amazonaws.com")),
        ("s3://s3.amazonaws.com/bucket", S3Address("bucket", "", "https://s3.amazonaws.com")),
        ("s3://host:9000/bucket", S3Address("bucket", "", "https://host:9000")),
    ],
)
def test_addresses_say_where_and_are_shown_so_that_they_are_read_alike(address, expected):
    assert parse_s3(address) == expected
    assert parse_s3(expected.text) == expected
    assert parse_address(address).address == expected


@pytest.mark.parametrize(
    "address",
    [
        *("s3:", "s3://", "s3:host", "s3:host/", "s3:https://", "s3:https:///bucket"),
        *("s3:https://host", "s3:https://host/", "s3:https://host:port/bucket", "s3:///bucket"),
        *("s3:https://host:99999/bucket", "s3:https://host:0/bucket", "s3:ftp://host/bucket"),
        *("s3:host:99999/bucket", "s3://host:0/bucket", "s3:[:::]/bucket", "s3:host#/bucket"),
        *("s3:https://host/bucket?x=y", "s3:https://host/bucket#x", "s3://-bucket"),
        *("s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/.", "s3://bucket/a\tb"),
        *("s3://a bucket/x", "s3://bucket/\ud800", f"s3://bucket/{'x' * 501}"),
    ],
)
def test_malformed_addresses_are_refused(address):
    with pytest.raises(InvalidAddress):
        parse_s3(address)


@pytest.mark.parametrize(
    "address",
    [
        "s3:https://key:canary@host/bucket",
        "s3:key:canary@host/bucket",
        "s3://key:canary@bucket/x",
        "s3://canary@bucket/x",
    ],
)
def test_keys_in_an_address_are_refused_and_not_repeated(address):
    with pytest.raises(InvalidAddress) as raised:
        parse_s3(address)
    assert "do not belong in an address" in raised.value.message
    assert "canary" not in raised.value.message
