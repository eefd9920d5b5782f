"""A key file opens with its password and with no other, and cannot be made to do harm."""

import base64
import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.testing.fakes import repeatable_random_bytes
from backapp_plugins.archivers.restic.access import key_files
from backapp_plugins.archivers.restic.access.key_files import (
    KeyBroken,
    KeyRefused,
    decode_key_file,
    new_master_key,
    open_master_key,
    seal_master_key,
)
from backapp_plugins.archivers.restic.format.crypto import MasterKey, Sealer

pytestmark = pytest.mark.usefixtures("cheap_keys")

RANDOM = repeatable_random_bytes()
MASTER = new_master_key(RANDOM)
AT = datetime(2026, 11, 25, 13, 34, 29, 975016, tzinfo=UTC)
FIELDS = {
    "created": "2026-11-25T13:34:29.975016831+01:00",
    "username": "root",
    "hostname": "vm",
    "kdf": "scrypt",
    "N": 16,
    "r": 1,
    "p": 1,
    "salt": base64.b64encode(b"s" * 64).decode(),
    "data": base64.b64encode(b"d" * 32).decode(),
}


def sealed(password: bytes = b"geheim") -> bytes:
    return seal_master_key(MASTER, password, RANDOM, created_at=AT, username="root", hostname="vm")


def with_master(document: bytes) -> bytes:
    """Return a key file whose password, ``geheim``, opens ``document``."""
    key = hashlib.scrypt(b"geheim", salt=b"s" * 64, n=16, r=1, p=1, dklen=64)
    sealer = Sealer(MasterKey(key[:32], key[32:48], key[48:]), RANDOM)
    data = base64.b64encode(sealer.seal(document)).decode()
    return json.dumps({**FIELDS, "data": data}).encode()


def test_a_key_file_opens_with_its_password_only():
    key = decode_key_file(sealed())
    assert open_master_key(key, b"geheim") == MASTER
    for wrong in (b"", b"Geheim", b"geheim ", b"\x00"):
        assert open_master_key(key, wrong) is None


def test_a_key_file_has_the_fields_of_restic_in_its_order():
    fields = json.loads(sealed())
    assert list(fields) == list(FIELDS)
    assert fields["created"] == "2026-11-25T13:34:29.975016Z"
    assert (fields["r"], fields["p"]) == (8, 5)
    assert len(base64.b64decode(fields["salt"])) == 64


def test_what_the_password_opens_is_written_as_restic_does():
    key = decode_key_file(sealed())
    secret = hashlib.scrypt(b"geheim", salt=key.salt, n=16, r=8, p=5, dklen=64)
    sealer = Sealer(MasterKey(secret[:32], secret[32:48], secret[48:]), RANDOM)
    k, r, encrypt = (
        base64.b64encode(each) for each in (MASTER.mac_k, MASTER.mac_r, MASTER.encrypt)
    )
    assert sealer.open(key.data) == b'{"mac":{"k":"%s","r":"%s"},"encrypt":"%s"}' % (k, r, encrypt)


def test_two_files_of_one_password_have_nothing_in_common():
    one, other = decode_key_file(sealed()), decode_key_file(sealed())
    assert one.salt != other.salt
    assert one.data != other.data


def test_unknown_fields_are_passed_over():
    assert decode_key_file(json.dumps({**FIELDS, "x": [1]}).encode()).created.minute == 34


@pytest.mark.parametrize(
    "changes",
    [
        {"N": 0},
        {"N": 1},
        {"N": -16},
        {"N": 17},
        {"N": 1.5},
        {"N": "16"},
        {"r": 0},
        {"p": 0},
        {"p": -1},
        {"N": 1 << 200},
        {"r": 1 << 63},
        {"p": 10**400},
        {"salt": ""},
        {"salt": "A" * 80},
        {"salt": "!"},
        {"data": None},
        {"created": "yesterday"},
        {"created": "2026-11-25T13:34:29"},
    ],
)
def test_what_is_no_key_file_is_broken(changes):
    with pytest.raises(KeyBroken):
        decode_key_file(json.dumps({**FIELDS, **changes}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"N": 1 << 40},
        {"N": 1 << 62, "r": 1 << 62},
        {"N": 1 << 24, "r": 8},
        {"r": 1 << 40},
        {"p": 1 << 26},
        {"N": 1 << 20, "r": 8, "p": 8},
        {"N": 1 << 18, "r": 1},
        {"kdf": "argon2id"},
    ],
)
def test_harmful_and_unknown_derivations_are_refused_before_they_begin(changes, monkeypatch):
    def derive(*arguments: object, **options: object) -> bytes:
        raise AssertionError("a derivation began")

    monkeypatch.setattr(key_files, "scrypt", derive)
    with pytest.raises(KeyRefused):
        decode_key_file(json.dumps({**FIELDS, **changes}).encode())


@pytest.mark.parametrize(("n", "r", "p"), [(32768, 8, 7), (1 << 17, 8, 1), (1 << 20, 8, 1)])
def test_derivations_that_people_choose_are_not_refused(n, r, p):
    assert decode_key_file(json.dumps({**FIELDS, "N": n, "r": r, "p": p}).encode()).n == n


def test_a_machine_that_cannot_derive_is_not_mistaken_for_a_wrong_password(monkeypatch):
    def derive(*arguments: object, **options: object) -> bytes:
        raise MemoryError

    key = decode_key_file(sealed())
    monkeypatch.setattr(key_files, "scrypt", derive)
    with pytest.raises(KeyRefused, match="on this machine"):
        open_master_key(key, b"geheim")


def _master(encrypt: bytes = b"e" * 32, k: bytes = b"k" * 16, r: bytes = b"r" * 16) -> bytes:
    text = {"mac": {"k": k, "r": r}, "encrypt": encrypt}
    return json.dumps(text, default=lambda raw: base64.b64encode(raw).decode()).encode()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        _master(encrypt=b"short"),
        _master(k=b"k" * 17),
        _master(r=b""),
        _master(encrypt=bytes(32)),
        _master(k=bytes(16)),
        _master(r=bytes(16)),
    ],
)
def test_what_is_no_master_key_is_refused_after_it_opened(document):
    with pytest.raises(KeyBroken) as caught:
        open_master_key(decode_key_file(with_master(document)), b"geheim")
    assert "short" not in str(caught.value)


def test_the_master_key_of_another_program_opens():
    key = open_master_key(decode_key_file(with_master(_master())), b"geheim")
    assert key == MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)


def test_keys_are_not_shown():
    assert "eee" not in repr(MasterKey(b"e" * 32, b"k" * 16, b"r" * 16))


@pytest.mark.parametrize(
    "content",
    [b"[" * 60_000, b'{"x":' * 10_000, json.dumps(FIELDS).encode().replace(b"16", b"16" * 30_000)],
    ids=["deep array", "deep object", "long number"],
)
def test_json_made_to_do_harm_is_broken(content):
    with pytest.raises(KeyBroken):
        decode_key_file(content)


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_else(content):
    with pytest.raises((KeyBroken, KeyRefused)):
        decode_key_file(content)
