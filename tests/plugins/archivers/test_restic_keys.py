"""Any of several passwords opens a repository; what is wrong with other keys does no harm."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.errors import (
    DamagedRepository,
    InputError,
    TransportUnavailable,
    UnknownFormat,
    WrongPassword,
)
from backapp_core.events import Level, LogLine, Recording
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.fakes import MemoryTransport, make_surroundings
from backapp_core.testing.faults import DamagingTransport, FaultyTransport, flip_bit, raising
from backapp_plugins.archivers.restic.access import key_files
from backapp_plugins.archivers.restic.access.keys import add_key, key_name, open_key

pytestmark = pytest.mark.usefixtures("cheap_keys")

MASTER = key_files.new_master_key(lambda count: bytes(range(1, count + 1)))


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def surroundings(tmp_path: Path, recording: Recording) -> Surroundings:
    return evolve(make_surroundings(tmp_path), events=recording)


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def add(transport: MemoryTransport, surroundings: Surroundings) -> Callable[[str], bytes]:
    return lambda password: add_key(transport, MASTER, password, surroundings)


def put(transport: MemoryTransport, content: bytes) -> bytes:
    """Store a key file under the name that its content asks for."""
    key_id = sha256(content).digest()
    transport.put(key_name(key_id), [content])
    return key_id


def altered(transport: MemoryTransport, key_id: bytes, **changes: object) -> bytes:
    """Return the content of a key file with other fields."""
    return json.dumps({**json.loads(transport.read(key_name(key_id))), **changes}).encode()


def warnings(recording: Recording) -> list[str]:
    return [line.text for line in recording.of(LogLine) if line.level is Level.WARNING]


def test_each_password_opens_the_same_master_key(transport, surroundings, add):
    ids = {password: add(password) for password in ("one", "zwei", "tröis \U0001f511")}
    for password, key_id in ids.items():
        opened = open_key(transport, password, surroundings)
        assert (opened.id, opened.master) == (key_id, MASTER)


def test_a_wrong_password_is_called_wrong(transport, surroundings, add, recording):
    add("one")
    add("two")
    with pytest.raises(WrongPassword, match=r"opens no key at fake:memory$"):
        open_key(transport, "three", surroundings)
    assert warnings(recording) == []


def test_a_password_need_not_be_unicode(transport, surroundings, add):
    password = b"\xff\xfe".decode("utf-8", "surrogateescape")
    key_id = add(password)
    assert open_key(transport, password, surroundings).id == key_id


def test_an_empty_password_is_refused(transport, add):
    with pytest.raises(InputError, match="empty password"):
        add("")
    assert transport.objects == {}


def test_where_no_key_stands_the_password_is_not_blamed(transport, surroundings):
    transport.put("keys/readme", [b"no key"])
    with pytest.raises(DamagedRepository, match="there is no key"):
        open_key(transport, "geheim", surroundings)


def test_the_key_that_is_hinted_at_is_tried_first(transport, surroundings, add, monkeypatch):
    ids = [add("same") for _ in range(4)]
    tried: list[object] = []
    derive = key_files.scrypt
    monkeypatch.setattr(key_files, "scrypt", lambda *a, **o: (tried.append(a), derive(*a, **o))[1])
    for key_id in ids:
        tried.clear()
        assert open_key(transport, "same", surroundings, hint=key_id.hex()[:12]).id == key_id
        assert len(tried) == 1
    assert open_key(transport, "same", surroundings, hint="no such key").id in ids


def test_twenty_keys_are_tried_and_no_more_unless_hinted_at(transport, surroundings, add):
    ids = {f"password {number}": add(f"password {number}") for number in range(20)}
    for password, key_id in ids.items():
        assert open_key(transport, password, surroundings).id == key_id
    with pytest.raises(WrongPassword, match="opens no key"):
        open_key(transport, "wrong", surroundings)
    ids["password 20"] = add("password 20")
    last, key_id = max(ids.items(), key=lambda item: item[1])
    with pytest.raises(WrongPassword, match="first 20 keys"):
        open_key(transport, last, surroundings)
    assert open_key(transport, last, surroundings, hint=key_id.hex()).id == key_id


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff" * 40,
        b"[]",
        b'{"kdf":"scrypt"}',
        b"x" * (key_files.LARGEST_FILE_BYTES + 1),
    ],
    ids=["empty", "cut", "noise", "array", "bare", "huge"],
)
def test_a_damaged_key_beside_a_good_one_is_reported_only(
    transport, surroundings, add, recording, content
):
    good = add("geheim")
    bad = put(transport, content)
    assert open_key(transport, "geheim", surroundings, hint=bad.hex()).id == good
    [line] = warnings(recording)
    assert line.startswith(f"{key_name(bad)} is damaged: ")


def test_a_wrong_password_beside_a_damaged_key_names_both(transport, surroundings, add):
    add("geheim")
    bad = put(transport, b"{}")
    with pytest.raises(WrongPassword, match=f"{key_name(bad)} is damaged"):
        open_key(transport, "wrong", surroundings)


def test_if_all_keys_are_damaged_the_password_is_not_blamed(transport, surroundings):
    bad = put(transport, b"{}")
    with pytest.raises(DamagedRepository, match=f"{key_name(bad)} is damaged"):
        open_key(transport, "geheim", surroundings)


def test_a_key_that_asks_for_the_impossible_does_not_stop_the_good_one(
    transport, surroundings, add, recording
):
    good = add("geheim")
    bomb = put(transport, altered(transport, good, N=1 << 40))
    assert open_key(transport, "geheim", surroundings, hint=bomb.hex()).id == good
    assert "made to do harm" in warnings(recording)[0]
    transport.delete(key_name(good))
    with pytest.raises(UnknownFormat, match=key_name(bomb)):
        open_key(transport, "geheim", surroundings)


def test_a_key_altered_in_what_does_not_matter_opens_with_a_warning(
    transport, surroundings, add, recording
):
    key_id = add("geheim")
    content = altered(transport, key_id, hostname="elsewhere")
    transport.put(key_name(key_id), [content], replace=True)
    assert open_key(transport, "geheim", surroundings).master == MASTER
    assert "does not have the hash" in warnings(recording)[0]
    with pytest.raises(DamagedRepository, match="does not have the hash"):
        open_key(transport, "wrong", surroundings)


def test_no_flipped_bit_opens_another_key_or_blames_the_password(transport, surroundings, add):
    key_id = add("geheim")
    content = transport.read(key_name(key_id))
    reasons: set[str] = set()
    for bit in range(3, 8 * len(content), 7):
        transport.put(key_name(key_id), [flip_bit(content, bit)], replace=True)
        try:
            assert open_key(transport, "geheim", surroundings).master == MASTER
        except DamagedRepository as error:
            reasons.add(error.message.partition(":")[0])
    assert reasons == {f"{key_name(key_id)} is damaged"}


def test_one_bad_transfer_is_no_damage(transport, surroundings, add, recording):
    key_id = add("geheim")
    reads = iter([True, False])
    flaky = DamagingTransport(
        transport, lambda name, data: flip_bit(data, 999) if next(reads) else data
    )
    assert open_key(flaky, "geheim", surroundings).id == key_id
    assert warnings(recording) == []


def test_a_key_removed_between_listing_and_reading_is_passed_over(transport, surroundings, add):
    first, second = sorted([add("same"), add("same")])

    def strike(operation, now):
        if operation.verb == "read" and operation.name == key_name(first):
            transport.delete(operation.name)

    assert open_key(FaultyTransport(transport, strike), "same", surroundings).id == second


def test_a_destination_that_fails_is_no_wrong_password(transport, surroundings, add):
    add("geheim")
    fail = raising(TransportUnavailable("no answer"))
    broken = FaultyTransport(
        transport, lambda operation, _: fail() if operation.verb == "read" else None
    )
    with pytest.raises(TransportUnavailable):
        open_key(broken, "geheim", surroundings)


def test_a_key_that_does_not_come_back_as_written_is_not_trusted(transport, surroundings):
    liar = DamagingTransport(transport, lambda name, data: flip_bit(data, 40))
    with pytest.raises(DamagedRepository, match="does not come back"):
        add_key(liar, MASTER, "geheim", surroundings)
