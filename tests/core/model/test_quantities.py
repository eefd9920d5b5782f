"""What people read of numbers."""

import pytest

from backapp_core.model.quantities import count, duration, size, size_from_text


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
