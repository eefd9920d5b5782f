"""Whether a repository's receipts are a chain, however many there are."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from attrs import evolve

from backapp_core.engine.chain import Chain, check_chain
from backapp_core.model.receipts import NOTHING_BEFORE, Receipt
from backapp_core.model.snapshots import Counts

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MOST = 2001


@pytest.fixture(scope="module")
def receipts():
    made = [Receipt("r", 1, NOW, "a", "b", "c", 3, 1000, Counts(), NOTHING_BEFORE)]
    while len(made) < MOST:
        made.append(evolve(made[0], sequence=len(made) + 1, previous_hash=made[-1].hash))
    return made


@pytest.fixture
def check():
    """Have a list of receipts checked; says how many were had at once, too."""

    def check(kept):
        sizes = []

        def receipts_after(repository_id, sequence, *, limit):
            assert repository_id == "id"
            part = [one for one in kept if one.sequence > sequence][:limit]
            sizes.append(len(part))
            return part

        def get(name):
            assert name == "name"
            return SimpleNamespace(id="id")

        repositories = SimpleNamespace(get=get, receipts_after=receipts_after)
        fleet = SimpleNamespace(now=lambda: NOW)
        return check_chain(fleet, SimpleNamespace(repositories=repositories), "name"), sizes

    return check


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, MOST])
def test_receipts_are_looked_at_to_the_last_a_thousand_at_a_time(check, receipts, count):
    found, sizes = check(receipts[:count])
    last = receipts[count - 1].hash if count else NOTHING_BEFORE
    assert found == Chain(count, None, last, NOW)
    assert (sum(sizes), max(sizes) <= 1000) == (count, True)


@pytest.mark.parametrize("number", [1, 2, 1000, 1001, 1500, MOST])
def test_break_is_found_wherever_it_is(check, receipts, number):
    """Of what comes before it the last hash is told."""
    before = receipts[: number - 1]
    last = before[-1].hash if before else NOTHING_BEFORE
    altered = evolve(receipts[number - 1], previous_hash="f" * 64)
    found, _ = check([*before, altered, *receipts[number:]])
    assert found == Chain(number - 1, number, last, NOW)
    if number < MOST:
        found, _ = check([*before, *receipts[number:]])
        assert found == Chain(number - 1, number, last, NOW)
