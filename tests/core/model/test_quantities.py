"""What people read of numbers."""

import pytest

from backapp_core.errors import InputError
from backapp_core.model.quantities import count, duration, seconds_of, size, size_from_text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**3, "1.0 GiB"),
        (5 * 1024**5, "5.0 PiB"),
    ],
)
def test_sizes_have_a_digit_and_a_unit(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0:00"), (0, "0:00"), (59.6, "1:00"), (754, "12:34"), (10921, "3:02:01")],
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_agree_with_their_noun() -> None:
    assert [count(1, "file"), count(1234, "file"), count(2, "entry", "entries")] == [
        "1 file",
        "1,234 files",
        "2 entries",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2h", 7200), ("1h0m5s", 3605), ("0s", 0)],
)
def test_stretches_of_time_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "5M", "30m1h", "-5m", "1.5h", "8761h", "\n"])
def test_what_is_no_stretch_of_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write it like 90s, 5m or 1h30m"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "count_bytes"),
    [
        ("10", 10),
        (" 1.5 GiB ", 3 << 29),
        ("7b", 7),
        ("2P", 2 << 50),
        ("x", None),
        ("9" * 400, None),
    ],
)
def test_sizes_are_read_as_they_are_written(text: str, count_bytes: int | None) -> None:
    assert size_from_text(text) == count_bytes
