"""Ids are found where a plain search finds them, however they were made."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backapp_plugins.archivers.restic.index.ids import SortedIds, distinct, to_ids

_NUMBER = st.integers(0, 3)
_CRAFTED = st.builds(  # same first bytes, same first eight bytes, ids inside neighbouring ids
    lambda first, middle, last: bytes([first] * 4 + [middle] * 4 + [last] * 24),
    _NUMBER,
    _NUMBER,
    _NUMBER,
)
_IDS = st.binary(min_size=32, max_size=32) | _CRAFTED


def _looked_up(ids: list[bytes], wanted: list[bytes]) -> None:
    ids = sorted(ids)
    searched = SortedIds(to_ids(ids))
    first = [ids.index(one) if one in ids else -1 for one in wanted]
    assert [searched.find(one) for one in wanted] == first
    assert searched.find_many(to_ids(wanted)).tolist() == first
    assert [len(searched.copies(one)) for one in wanted] == [ids.count(one) for one in wanted]
    repeated = [at > 0 and ids[at] == ids[at - 1] for at in range(len(ids))]
    assert searched.is_repeated().tolist() == repeated


@given(st.lists(_IDS), st.lists(_IDS))
def test_ids_stand_where_a_plain_search_finds_them(ids, others):
    _looked_up(ids, ids + others)


def test_a_crowd_of_ids_with_the_same_beginning_is_searched_to_the_end():
    ids = [b"same beginning, " + number.to_bytes(16, "big") for number in range(1000)]
    _looked_up(ids, [*ids[::50], ids[-1], bytes(32), b"same beginning, " + b"\xff" * 16])


def test_an_id_that_begins_inside_another_is_not_taken_for_it():
    halves = b"\x11" * 15 + b"\x12", b"\x11" * 16
    ids = [halves[0] + halves[1], halves[1] + halves[0], halves[0] + halves[0]]
    inside = (ids[0] + ids[1])[16:48]
    _looked_up(ids, [*ids, inside])


def test_starts_that_were_kept_serve_as_well_as_new_ones():
    ids = to_ids(sorted(bytes([number]) * 32 for number in range(200)))
    counted = SortedIds(ids)
    given_back = SortedIds(ids, counted.starts)
    assert [given_back.find(bytes([number]) * 32) for number in range(256)] == [
        *range(200),
        *[-1] * 56,
    ]


@given(st.lists(st.integers(0, 50)))
def test_distinct_numbers_are_those_of_a_set(numbers):
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))
