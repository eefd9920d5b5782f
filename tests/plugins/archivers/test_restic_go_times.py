"""Times are written as Go does in the zone of the process, and read to the nanosecond."""

import os
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_plugins.archivers.restic.format.go_times import local_times, time_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000_000
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Africa/Monrovia",
    "Europe/Amsterdam",
)
FIRST = -62_167_219_200
"""0000-01-01T00:00:00Z"""
LAST = 253_402_300_799
"""9999-12-31T23:59:59Z"""


class Zone:
    """Puts the process into a zone, and back in the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._before = os.environ.get("TZ")

    def __enter__(self) -> None:
        self._set(self._name)

    def __exit__(self, *_: object) -> None:
        self._set(self._before)

    @staticmethod
    def _set(name: str | None) -> None:
        os.environ.pop("TZ", None)
        if name is not None:
            os.environ["TZ"] = name
        time.tzset()


def in_zone(minutes: int) -> timezone:
    return timezone(timedelta(minutes=minutes))


def written(time_ns: int, zone: str = "UTC") -> str:
    with Zone(zone):
        return local_times()(time_ns)


@pytest.mark.parametrize(
    ("time_ns", "zone", "text"),
    [
        (0, "UTC", "1970-01-01T00:00:00Z"),
        (1, "UTC", "1970-01-01T00:00:00.000000001Z"),
        (-1, "UTC", "1969-12-31T23:59:59.999999999Z"),
        (1_600_000_000_120_000_000, "UTC", "2020-09-13T12:26:40.12Z"),
        (1_600_000_000_123_456_789, "Europe/Berlin", "2020-09-13T14:26:40.123456789+02:00"),
        (1_610_000_000_000_000_000, "Europe/Berlin", "2021-01-07T07:13:20+01:00"),
        (1_600_000_000_000_000_000, "America/St_Johns", "2020-09-13T09:56:40-02:30"),
        (1_600_000_000_500_000_000, "Asia/Kolkata", "2020-09-13T17:56:40.5+05:30"),
    ],
)
def test_time_is_written_as_go_does(time_ns, zone, text):
    assert written(time_ns, zone) == text
    assert time_of(text) == time_ns


def test_offset_follows_the_zone_at_that_instant():
    spring = 1_616_893_200 * SECOND
    with Zone("Europe/Berlin"):
        text = local_times()
        assert text(spring - 1) == "2021-03-28T01:59:59.999999999+01:00"
        assert text(spring) == "2021-03-28T03:00:00+02:00"


def test_offset_with_seconds_is_written_in_utc():
    before_zones = -2_600_000_000 * SECOND
    with Zone("Europe/Amsterdam"):
        assert time.localtime(before_zones // SECOND).tm_gmtoff % 60
        assert local_times()(before_zones) == "1887-08-11T09:46:40Z"


@given(st.integers(FIRST + 86_400, LAST - 86_400), st.integers(0, SECOND - 1))
@pytest.mark.parametrize("zone", ZONES)
def test_time_comes_back_whatever_the_zone(zone, seconds, fraction):
    time_ns = seconds * SECOND + fraction
    text = written(time_ns, zone)
    assert time_of(text) == time_ns


@given(st.datetimes(timezones=st.integers(-1439, 1439).map(in_zone)))
def test_time_is_read_as_python_reads_it(moment):
    text = moment.isoformat().replace("+00:00", "Z")
    assert time_of(text) == (moment - EPOCH) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize("digits", range(1, 12))
def test_fraction_may_have_any_number_of_digits(digits):
    text = f"1970-01-01T00:00:00.{'123456789012'[:digits]}Z"
    assert time_of(text) == int("123456789012"[: min(digits, 9)].ljust(9, "0"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (LAST + 1, "9999-01-01T00:00:00Z"),
        (FIRST - 1, "0000-12-31T23:59:59Z"),
        (FIRST, "0000-01-01T00:00:00Z"),
        (951_782_400 + 8000 * 146_097 * 86_400 // 400, "9999-03-01T00:00:00Z"),
        (10**18, "9999-12-31T23:59:59Z"),
        (-(10**18), "0000-01-01T00:00:00Z"),
    ],
)
def test_years_are_bounded(seconds, text):
    assert written(seconds * SECOND) == text
    assert FIRST * SECOND <= time_of(text) <= LAST * SECOND


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "2020-09-13",
        "2020-09-13T14:26:40",
        "2020-13-13T14:26:40Z",
        "2021-02-29T14:26:40Z",
        "2020-09-13T24:00:00Z",
        "2020-09-13T14:26:60Z",
        "2020-09-13 14:26:40Z",
        "2020-09-13T14:26:40.Z",
        "2020-09-13T14:26:40.1_0Z",
        "2020-09-13T14:26:40. 1Z",
        "2020-09-13T14:26:40.+1Z",
        "2020-09-13T14:26:40.\u0661Z",
        "2020-09-13T14:26:40+24:00",
        "2020-09-13T14:26:40+0200",
        "2020-09-13T14:26:40+02:60",
        "+020-09-13T14:26:40Z",
        "2020-09-13T14:26:40Z\n",
        "0000-02-30T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="is no time"):
        time_of(text)


def test_leap_day_of_the_year_0_is_read():
    assert time_of("0000-02-29T00:00:00Z") == (FIRST + 59 * 86_400) * SECOND
