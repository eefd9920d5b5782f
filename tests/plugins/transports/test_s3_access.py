"""What may be done with which keys at Ceph's gateway, and what is said when something may not."""

import json

import pytest
from attrs import evolve

from backapp_core.errors import (
    AccessRefused,
    InvalidAddress,
    InvalidSettings,
    ObjectMissing,
    TransportUnavailable,
)
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.transports.s3 import S3Options, open_s3, parse_address

pytestmark = pytest.mark.interop


@pytest.fixture
def opened(gateway, bucket, monkeypatch, tmp_path):
    """Opens a transport with the keys that are named, given in the environment."""
    transports = []

    def opened(keys=gateway.owner, address=None, **options):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys[0])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys[1])
        settings = parse_address(address or f"s3:{gateway.endpoint}/{bucket}/access")
        settings = evolve(settings, options=S3Options(**options))
        transports.append(open_s3(settings, make_surroundings(tmp_path)))
        return transports[-1]

    yield opened
    for transport in transports:
        transport.close()


def test_a_bucket_that_is_not_there_is_created(gateway, opened, bucket):
    transport = opened(address=f"s3:{gateway.endpoint}/{bucket}-new")
    with pytest.raises(TransportUnavailable, match=f"there is no bucket '{bucket}-new'"):
        transport.put("object", [b"x"])
    with pytest.raises(ObjectMissing):
        transport.get("object")
    transport.prepare()
    transport.put("object", [b"x"])
    assert gateway.client().get_object(Bucket=f"{bucket}-new", Key="object")["Body"].read() == b"x"


def test_who_may_create_no_bucket_is_told_so(gateway, opened):
    transport = opened(gateway.stranger, f"s3:{gateway.endpoint}/bucket-of-nobody")
    with pytest.raises(AccessRefused) as raised:
        transport.prepare()
    assert "there is no bucket 'bucket-of-nobody'" in raised.value.message
    assert "s3:CreateBucket" in raised.value.message


def test_a_bucket_of_somebody_else_is_refused(gateway, opened, bucket):
    with pytest.raises(AccessRefused, match=f"s3:ListBucket on bucket '{bucket}'"):
        opened(gateway.stranger).prepare()


@pytest.mark.parametrize(
    ("permission", "call"),
    [
        ("s3:PutObject", lambda transport: transport.put("other", [b"x"])),
        ("s3:PutObject", lambda transport: transport.put("large", [b"x" * (1 << 20)] * 17)),
        ("s3:GetObject", lambda transport: transport.read("object")),
        ("s3:GetObject", lambda transport: transport.stat("object")),
        ("s3:DeleteObject", lambda transport: transport.delete("object")),
        ("s3:ListBucket", lambda transport: [*transport.list()]),
    ],
)
def test_the_permission_that_is_missing_is_named(gateway, opened, bucket, permission, call):
    name = f"{bucket}-{permission.partition(':')[2].lower()}"
    client = gateway.client()
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="object", Body=b"x")
    allowed = {"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"} - {permission}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/stranger"]},
                "Action": sorted(allowed),
                "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
            }
        ],
    }
    client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    transport = opened(gateway.stranger, f"s3:{gateway.endpoint}/{name}")
    with pytest.raises(AccessRefused) as raised:
        call(transport)
    assert permission in raised.value.message
    assert name in raised.value.message
    assert gateway.stranger[1] not in raised.value.message


def test_wrong_keys_are_told_apart(gateway, opened):
    with pytest.raises(AccessRefused, match="does not know the access key"):
        opened(("nobody", "x")).prepare()
    with pytest.raises(AccessRefused, match="signature wrong"):
        opened((gateway.owner[0], "wrong")).prepare()


def test_a_secret_in_a_file_goes_before_the_environment(gateway, opened, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(gateway.owner[1] + "\n")
    secret.chmod(0o600)
    named = {"access_key_id": gateway.owner[0], "secret_key_file": str(secret)}
    transport = opened(("nobody", "x"), **named)
    transport.prepare()
    transport.put("with-a-file", [b"x"], replace=True)
    assert gateway.owner[1] not in repr(S3Options(**named))
    with pytest.raises(InvalidSettings, match="go together"):
        opened(access_key_id=gateway.owner[0])


def test_a_profile_may_run_a_command_for_its_keys(gateway, opened, tmp_path, monkeypatch):
    answer = {"Version": 1, "AccessKeyId": gateway.owner[0], "SecretAccessKey": gateway.owner[1]}
    (tmp_path / "keys.json").write_text(json.dumps(answer))
    (tmp_path / "config").write_text(
        f"[profile backups]\ncredential_process = cat {tmp_path}/keys.json\n"
        f"endpoint_url = {gateway.endpoint}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    transport = opened(("", ""), address="s3://bucket-of-a-profile/x", profile="backups")
    transport.prepare()
    transport.put("object", [b"x"])
    assert gateway.client().list_objects_v2(Bucket="bucket-of-a-profile")["KeyCount"] == 1
    with pytest.raises(AccessRefused, match="nobody"):
        opened(profile="nobody")


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_environment_names_server_and_region(gateway, opened, bucket, monkeypatch, variable):
    monkeypatch.setenv(variable, gateway.endpoint)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    transport = opened(address=f"s3://{bucket}/access")
    transport.prepare()
    transport.put(variable, [b"x"])
    assert transport.read(variable) == b"x"
    assert "%2Feu-central-1%2Fs3%2F" in transport.sign_head("x", lifetime_seconds=1).url


def test_settings_name_the_server(gateway, opened, bucket):
    transport = opened(address=f"s3://{bucket}/access", endpoint=gateway.endpoint)
    transport.prepare()
    assert transport.address == f"s3://{bucket}/access"


def test_a_name_that_no_bucket_may_have_is_refused(gateway, opened):
    with pytest.raises(InvalidAddress, match="no bucket called 'x_'"):
        opened(address=f"s3:{gateway.endpoint}/x_").prepare()
