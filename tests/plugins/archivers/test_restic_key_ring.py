"""Passwords come and go, and at every moment one opens the repository."""

from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.errors import InputError, RepositoryLocked, WrongPassword
from backapp_core.events import LogLine, Recording
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.testing.fakes import MemoryTransport, make_surroundings
from backapp_core.testing.faults import FaultyTransport
from backapp_plugins.archivers.restic.access import key_files
from backapp_plugins.archivers.restic.access.holding import hold
from backapp_plugins.archivers.restic.access.key_ring import KeyRing
from backapp_plugins.archivers.restic.access.keys import OpenedKey, add_key, key_name, open_key

pytestmark = pytest.mark.usefixtures("cheap_keys")

MASTER = key_files.new_master_key(lambda count: bytes(range(1, count + 1)))


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return evolve(make_surroundings(tmp_path), events=Recording())


@pytest.fixture
def transport(surroundings: Surroundings) -> MemoryTransport:
    transport = MemoryTransport()
    add_key(transport, MASTER, "first", surroundings)
    return transport


@pytest.fixture
def ring(transport: MemoryTransport, surroundings: Surroundings) -> KeyRing:
    return ring_of(transport, "first", surroundings)


def ring_of(transport: Transport, password: str, surroundings: Surroundings) -> KeyRing:
    opened = open_key(transport, password, surroundings)
    return KeyRing(transport, opened, surroundings, version=2)


def opens(transport: MemoryTransport, password: str, surroundings: Surroundings) -> bool:
    try:
        return open_key(transport, password, surroundings).master == MASTER
    except WrongPassword:
        return False


def others_hold(transport, surroundings, *, is_exclusive: bool = False):
    return hold(transport, MASTER, surroundings, version=2, is_exclusive=is_exclusive)


def test_keys_are_listed_oldest_first_with_the_one_in_use(ring, surroundings):
    surroundings.clock.advance(60)
    second = ring.add("second")
    surroundings.clock.advance(60)
    third = ring.add("third")
    assert [each.id for each in ring.list()] == [ring.current.id, second, third]
    assert [each.is_current for each in ring.list()] == [True, False, False]
    assert ring.list()[1].created_at < surroundings.clock.now()


def test_a_key_that_cannot_be_read_is_reported_and_left_out(ring, transport, surroundings):
    bad = bytes(32)
    transport.put(key_name(bad), [b"{}"])
    assert [each.id for each in ring.list()] == [ring.current.id]
    [line] = surroundings.events.of(LogLine)
    assert key_name(bad) in line.text


def test_a_key_is_named_by_the_beginning_of_its_id(ring, transport):
    for number in (1, 2):
        transport.put(key_name(b"\xab" * 31 + bytes([number])), [b"{}"])
    assert ring.named("ab" * 31 + "02") == b"\xab" * 31 + b"\x02"
    assert ring.named(ring.current.id.hex()) == ring.current.id
    with pytest.raises(InputError, match="2 keys begin with 'ab'"):
        ring.named("ab")
    for nothing in ("", "x", "ab" * 40):
        with pytest.raises(InputError, match="no key"):
            ring.named(nothing)


def test_an_added_password_opens_and_a_removed_one_does_not(ring, transport, surroundings):
    second = ring.add("second")
    assert opens(transport, "second", surroundings)
    ring.remove(second)
    assert not opens(transport, "second", surroundings)
    assert opens(transport, "first", surroundings)


def test_the_key_in_use_is_not_removed_and_so_never_the_last(ring, transport, surroundings):
    with pytest.raises(InputError, match="the one in use"):
        ring.remove(ring.current.id)
    second = ring.add("second")
    ring_of(transport, "second", surroundings).remove(ring.current.id)
    with pytest.raises(InputError, match="may be the last"):
        ring.remove(second)
    assert opens(transport, "second", surroundings)


def test_what_is_no_key_is_not_removed(ring):
    with pytest.raises(InputError, match="no key 00000000"):
        ring.remove(bytes(32))


def test_a_changed_password_takes_the_place_of_the_old_one(ring, transport, surroundings):
    before = ring.current
    after = ring.change_password("second")
    assert ring.current == OpenedKey(after, before.master)
    assert [each.id for each in ring.list()] == [after]
    assert opens(transport, "second", surroundings)
    assert not opens(transport, "first", surroundings)
    ring.change_password("third")
    assert opens(transport, "third", surroundings)


def test_an_empty_password_changes_nothing(ring, transport):
    before = transport.objects
    for verb in (ring.add, ring.change_password):
        with pytest.raises(InputError):
            verb("")
    assert transport.objects == before


def test_at_whatever_point_it_ends_some_password_opens(transport, surroundings):
    states: list[dict[str, bytes]] = []
    watched = FaultyTransport(transport, lambda *_: states.append(dict(transport.objects)))
    ring = ring_of(watched, "first", surroundings)
    ring.change_password("second")
    ring.remove(ring.add("third"))
    assert len(states) > 40
    for state in states:
        after = MemoryTransport()
        for name, content in state.items():
            after.put(name, [content])
        assert opens(after, "first", surroundings) or opens(after, "second", surroundings)


def test_removal_waits_until_nobody_else_is_at_work(ring, transport, surroundings):
    second = ring.add("second")
    with others_hold(transport, surroundings):
        with pytest.raises(RepositoryLocked):
            ring.remove(second)
        with pytest.raises(RepositoryLocked):
            ring.change_password("third")
        ring.add("fourth")
    with (
        others_hold(transport, surroundings, is_exclusive=True),
        pytest.raises(RepositoryLocked),
    ):
        ring.add("fifth")
    ring.remove(second)
    assert not any(name.startswith("locks/") for name in transport.objects)
