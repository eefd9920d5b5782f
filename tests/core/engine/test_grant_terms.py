"""How long what is signed may be good for, by the second."""

import pytest

from backapp_core.engine.grant_terms import Term
from backapp_core.errors import LeaseLost
from backapp_core.model.grants import ObjectSort
from backapp_core.testing.fakes import FrozenClock


@pytest.mark.parametrize("sort", ObjectSort)
def test_what_is_signed_after_the_run_is_over_is_nothing(sort):
    """A store that takes its time comes between the question and the signature."""
    clock = FrozenClock()
    term = Term(300, clock, ends_at=20.0)
    assert term.seconds_for(sort) == 20
    clock.advance(18.5)
    assert term.seconds_for(sort) == 1
    clock.advance(1.5)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            term.seconds_for(sort)
        clock.advance(60)


def test_all_but_snapshots_outlives_the_run_by_less_than_a_second():
    term = Term(300, FrozenClock(), ends_at=0.1)
    others = set(ObjectSort) - {ObjectSort.SNAPSHOT}
    assert {term.seconds_for(sort) for sort in others} == {1}
    with pytest.raises(LeaseLost, match="not held long enough"):
        term.seconds_for(ObjectSort.SNAPSHOT)
