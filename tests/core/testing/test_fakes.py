"""The fakes keep the contracts of what they stand for."""

from datetime import UTC, datetime

import pytest

from backapp_core.errors import StorageFull
from backapp_core.testing.fakes import (
    FrozenClock,
    MemoryBucket,
    MemoryTransport,
    make_surroundings,
)
from backapp_core.testing.transport_contract import TransportContract


class TestMemory(TransportContract):
    @pytest.fixture
    def reopen(self):
        bucket = MemoryBucket()
        return lambda: MemoryTransport(bucket)


def test_memory_that_is_full_stores_nothing_more():
    bucket = MemoryBucket(capacity_bytes=10)
    transport = MemoryTransport(bucket)
    transport.put("a", [b"x" * 6])
    with pytest.raises(StorageFull):
        transport.put("b", [b"y" * 5])
    transport.put("a", [b"z" * 10], replace=True)
    assert dict(transport.objects) == {"a": b"z" * 10}


def test_a_frozen_clock_moves_when_it_is_turned():
    clock = FrozenClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert clock.now() == clock.now()
    clock.advance(90)
    clock.wait(30)
    assert clock.now() == datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
    assert clock.monotonic_seconds() == 120
    clock.set(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2020
    assert clock.monotonic_seconds() == 120


def test_surroundings_repeat_themselves_for_the_same_seed(tmp_path):
    one, two, other = (make_surroundings(tmp_path, seed=seed) for seed in (1, 1, 2))
    first = [one.random_bytes(5) for _ in range(3)]
    assert [two.random_bytes(5) for _ in range(3)] == first
    assert [other.random_bytes(5) for _ in range(3)] != first
    assert len(set(first)) == 3
    for folder in (one.cache_folder, one.state_folder):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert isinstance(one.clock, FrozenClock)
