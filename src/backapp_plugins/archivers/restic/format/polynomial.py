"""Irreducible polynomials over GF(2), one of which decides where a repository's files are cut.

A polynomial is an integer whose bit ``i`` is the coefficient of ``x**i``, as restic has it.
"""

import re
from collections.abc import Callable

DEGREE = 53
_RANDOM_BYTES = 8
_HEX = re.compile("[0-9a-fA-F]{1,16}")


def random_polynomial(random_bytes: Callable[[int], bytes]) -> int:
    """Return an irreducible polynomial of degree 53, every one of them as likely as any other."""
    while True:
        low = int.from_bytes(random_bytes(_RANDOM_BYTES), "big") & ((1 << DEGREE) - 1)
        # Whatever has no constant term is divisible by x.
        candidate = 1 << DEGREE | low | 1
        if is_irreducible(candidate):
            return candidate


def is_irreducible(polynomial: int) -> bool:
    """Say whether nothing but 1 and itself divides it.

    Ben-Or's test: ``x**(2**i) - x`` is the product of all irreducible polynomials whose degree
    divides ``i``, and a reducible one has a factor of at most half its degree. Small factors, which
    most have, are found first. Half a millisecond for an irreducible one of degree 53.
    """
    degree = polynomial.bit_length() - 1
    if degree < 1:
        return False
    power = x = 2
    for _ in range(degree // 2):
        power = remainder(_square(power), polynomial)
        if _common_divisor(polynomial, power ^ x) != 1:
            return False
    return True


def remainder(dividend: int, divisor: int) -> int:
    """Return what a division leaves; of a lower degree than ``divisor``."""
    length = divisor.bit_length()
    while (excess := dividend.bit_length() - length) >= 0:
        dividend ^= divisor << excess
    return dividend


def polynomial_to_text(polynomial: int) -> str:
    """Return its hexadecimal form as a repository's description has it."""
    return f"{polynomial:x}"


def polynomial_from_text(text: str) -> int:
    """Return the polynomial that ``text`` stands for.

    Raises:
        ValueError: If that is none of degree 53, or a reducible one; files must not be cut by it.
    """
    if not _HEX.fullmatch(text):
        raise ValueError(f"the polynomial {text!a} is no hexadecimal number of 64 bits")
    polynomial = int(text, 16)
    if polynomial.bit_length() - 1 != DEGREE:
        raise ValueError(f"the polynomial {text} is not of degree {DEGREE}")
    if not is_irreducible(polynomial):
        raise ValueError(f"the polynomial {text} is not irreducible")
    return polynomial


def _square(polynomial: int) -> int:
    # Squaring puts a zero between any two coefficients: the binary digits, read to the base of 4.
    return int(f"{polynomial:b}", 4)


def _common_divisor(one: int, other: int) -> int:
    while other:
        one, other = other, remainder(one, other)
    return one
