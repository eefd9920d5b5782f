"""A share of the data is neither nothing nor more than was asked for."""

import os
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.errors import InputError
from backapp_core.model.subsets import DataSubset

SIZES = st.dictionaries(
    st.integers(0, 1 << 30).map(lambda number: sha256(b"%d" % number).digest()),
    st.integers(0, 1000),
    max_size=60,
)


@given(SIZES)
def test_everything_is_chosen_if_nothing_is_said(sizes) -> None:
    assert DataSubset().choose(sizes, os.urandom) == sizes.keys()
    assert DataSubset.of(read_data=True) == DataSubset()
    assert DataSubset.of(read_data=False) is None


@given(SIZES, st.integers(1, 256))
def test_parts_hold_every_object_once(sizes, parts) -> None:
    chosen = [
        one
        for part in range(1, parts + 1)
        for one in DataSubset(part=part, parts=parts).choose(sizes, os.urandom)
    ]
    assert sorted(chosen) == sorted(sizes)


@given(SIZES, st.floats(0.01, 100))
def test_a_percentage_is_that_of_the_objects_and_at_least_one(sizes, percent) -> None:
    chosen = DataSubset(percent=percent).choose(sizes, os.urandom)
    assert len(chosen) == min(len(sizes), max(1, int(len(sizes) * percent / 100)))


@given(SIZES, st.integers(1, 20_000))
def test_an_amount_is_not_exceeded_by_more_than_one_object_alone(sizes, most_bytes) -> None:
    chosen = DataSubset(most_bytes=most_bytes).choose(sizes, os.urandom)
    assert bool(chosen) == bool(sizes)
    assert len(chosen) <= 1 or sum(sizes[one] for one in chosen) <= most_bytes
    if sum(sizes.values()) <= most_bytes:
        assert chosen == sizes.keys()


def test_what_is_drawn_differs_from_time_to_time() -> None:
    sizes = {sha256(b"%d" % number).digest(): 1 for number in range(1000)}
    half = DataSubset(percent=50)
    assert half.choose(sizes, os.urandom) != half.choose(sizes, os.urandom)


@pytest.mark.parametrize(
    "wrong",
    [
        {"part": 0},
        {"part": 2},
        {"part": 1, "parts": 257},
        {"percent": 0},
        {"percent": 100.1},
        {"percent": float("nan")},
        {"most_bytes": 0},
    ],
)
def test_what_is_no_share_is_refused(wrong) -> None:
    with pytest.raises(InputError):
        DataSubset(**wrong)
