"""Polynomials are told apart as restic does it, by another road and by counting."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.testing.fakes import repeatable_random_bytes
from backapp_plugins.archivers.restic.format.polynomial import (
    DEGREE,
    is_irreducible,
    polynomial_from_text,
    polynomial_to_text,
    random_polynomial,
)


def product(one: int, other: int) -> int:
    result = 0
    while other:
        result ^= one if other & 1 else 0
        one, other = one << 1, other >> 1
    return result


@pytest.mark.parametrize(
    "text",
    [
        "3da3358b4dc173",
        "2482734cacca49",
        "249971770ab0ff",
        "35873ec6c29629",
        "379e1f8576e839",
    ],
)
def test_polynomials_of_restic_are_irreducible(text):
    polynomial = polynomial_from_text(text)
    assert polynomial == int(text, 16)
    assert polynomial_to_text(polynomial) == text


@pytest.mark.parametrize(
    ("degree", "count"),
    [(1, 2), (2, 1), (3, 2), (4, 3), (5, 6), (6, 9), (7, 18), (8, 30), (9, 56), (10, 99)],
)
def test_there_are_as_many_of_a_degree_as_gauss_counted(degree, count):
    all_of_them = range(1 << degree, 2 << degree)
    assert sum(map(is_irreducible, all_of_them)) == count


def test_constants_are_not_irreducible():
    assert not is_irreducible(0)
    assert not is_irreducible(1)


@given(
    st.integers(1, DEGREE - 1).flatmap(
        lambda low: st.tuples(
            st.integers(1 << low, (2 << low) - 1),
            st.integers(1 << (DEGREE - low), (2 << (DEGREE - low)) - 1),
        )
    )
)
def test_no_product_is_irreducible(factors):
    polynomial = product(*factors)
    assert polynomial.bit_length() - 1 == DEGREE
    assert not is_irreducible(polynomial)
    with pytest.raises(ValueError, match="not irreducible"):
        polynomial_from_text(f"{polynomial:x}")


def test_random_polynomials_are_irreducible_and_differ():
    random_bytes = repeatable_random_bytes(7)
    found = [random_polynomial(random_bytes) for _ in range(20)]
    assert all(map(is_irreducible, found))
    assert {each.bit_length() - 1 for each in found} == {DEGREE}
    assert all(one != other for one, other in pairwise(sorted(found)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0x3da3358b4dc173",
        "3da3358b4dc173\n",
        "-1",
        "3da3 358b",
        "\u0661",
        "f" * 17,
        "1" * 9999,
    ],
)
def test_what_is_no_polynomial_is_refused(text):
    with pytest.raises(ValueError, match="polynomial"):
        polynomial_from_text(text)
