"""Rates are written as in restic, or with a unit."""

import pytest

from backapp_core.errors import InputError
from backapp_core.model.rates import Rate


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("500", 500 * 1024),
        ("1.5", 1536),
        (" 1 ", 1024),
        ("500K", 500 * 1024),
        ("2M", 2 << 20),
        ("1.5 MiB/s", 3 << 19),
        ("2000 b / s", 2000),
        ("1G", 1 << 30),
        ("0", None),
        ("0M", None),
    ],
)
def test_a_bare_number_is_kib_a_second(text: str, bytes_per_second: int | None) -> None:
    assert Rate.parse(text) == Rate(bytes_per_second)


@pytest.mark.parametrize("text", ["", "fast", "-1", "2X", "1e3", "2M/h", "2Mbit", "9" * 400])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no rate; write it like 500"):
        Rate.parse(text)


@pytest.mark.parametrize("text", ["0.5", "1023B", "1b"])
def test_what_would_never_come_to_an_end_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="less than 1 KiB a second; 0 is no limit"):
        Rate.parse(text)


@pytest.mark.parametrize("rate", [Rate(), Rate(1024), Rate(1500), Rate(3 << 20)])
def test_a_rate_is_written_so_that_it_is_read_alike(rate: Rate) -> None:
    assert Rate.parse(str(rate)) == rate
