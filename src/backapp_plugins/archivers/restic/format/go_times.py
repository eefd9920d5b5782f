"""Times as Go writes them: RFC 3339 in the local zone, the fraction without trailing zeros."""

import re
import time
from collections.abc import Callable
from datetime import date
from functools import lru_cache

NS_PER_SECOND = 1_000_000_000
_REMEMBERED = 1 << 14
_SECONDS_PER_DAY = 86_400
_LAST_YEAR = 9999
_DAYS_OF_400_YEARS = 146_097
_DAY_OF_1970 = date(1970, 1, 1).toordinal()
_FRACTION_DIGITS = 9
_TWO_DIGITS = tuple(f"{number:02d}" for number in range(100))
"""Looked up, numbers are put into a text in half the time that formatting them takes."""
_MOMENT_CHARACTERS = 19
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)", re.ASCII
).fullmatch
_ZONE = re.compile(r"([+-])([01]\d|2[0-3]):([0-5]\d)", re.ASCII).fullmatch


def local_times() -> Callable[[int], str]:
    """Return a function that writes nanoseconds since 1970 as a time of this machine's zone.

    It remembers the seconds that it met, since files of one tree share them: half a microsecond
    for a second met before, one and a half for a new one. When the zone of the process changes, a
    new function must be made. Offsets that are no whole minutes, as local mean time had them,
    cannot be written; such times are written in UTC. Years are bounded by 0 and 9999, as restic
    does.
    """
    second_text = lru_cache(_REMEMBERED)(_second_text)

    def text(time_ns: int) -> str:
        seconds, fraction = divmod(time_ns, NS_PER_SECOND)
        second, zone = second_text(seconds)
        if not fraction:
            return second + zone
        if fraction % 10:
            return f"{second}.{fraction:09d}{zone}"
        return f"{second}.{fraction:09d}".rstrip("0") + zone

    return text


def time_of(text: str) -> int:
    """Return the nanoseconds since 1970 that a time means; digits beyond them are cut off.

    Raises:
        ValueError: If it is no time.
    """
    zone_at = -1 if text.endswith("Z") else -6
    try:
        seconds = _seconds(text[:_MOMENT_CHARACTERS], text[zone_at:])
        fraction = text[_MOMENT_CHARACTERS:zone_at]
        return seconds * NS_PER_SECOND + (_nanoseconds(fraction) if fraction else 0)
    except ValueError as error:
        raise ValueError(f"'{text}' is no time") from error


def offset_of(text: str) -> int:
    """Return how many seconds the clock that showed a time was ahead of UTC.

    Raises:
        ValueError: If the text does not end in a zone.
    """
    return _offset("Z" if text.endswith("Z") else text[-6:])


def _second_text(seconds: int) -> tuple[str, str]:
    """Return date and time of day, and the zone, of a whole second."""
    try:
        local = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):  # further away than the system's calendar goes
        return ("9999-12-31T23:59:59" if seconds > 0 else "0000-01-01T00:00:00"), "Z"
    offset = local.tm_gmtoff
    if offset % 60 or abs(offset) >= _SECONDS_PER_DAY:
        local, offset = time.gmtime(seconds), 0
    year, month, day, hour, minute, second = local[:6]
    if not 0 <= year <= _LAST_YEAR:
        year = min(max(year, 0), _LAST_YEAR)
        if (month, day) == (2, 29) and year:  # the year 0 has that day, the last one has not
            month, day = 3, 1
    two = _TWO_DIGITS
    clock = f"{two[hour]}:{two[minute]}:{two[second]}"
    return f"{year:04d}-{two[month]}-{two[day]}T{clock}", _zone(offset)


@lru_cache(64)
def _zone(offset: int) -> str:
    if not offset:
        return "Z"
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}"


@lru_cache(_REMEMBERED)
def _seconds(moment: str, zone: str) -> int:
    parts = _MOMENT(moment)
    if parts is None:
        raise ValueError("date or time of day are malformed")
    year, month, day, hour, minute, second = map(int, parts.groups())
    # The calendar repeats after 400 years, and Python's begins with the year 1.
    days = date(year, month, day).toordinal() if year else _ordinal_of_year_0(month, day)
    local = (days - _DAY_OF_1970) * _SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
    return local - _offset(zone)


def _ordinal_of_year_0(month: int, day: int) -> int:
    return date(400, month, day).toordinal() - _DAYS_OF_400_YEARS


@lru_cache(64)
def _offset(zone: str) -> int:
    if zone == "Z":
        return 0
    parts = _ZONE(zone)
    if parts is None:
        raise ValueError("the zone is malformed")
    offset = int(parts[2]) * 3600 + int(parts[3]) * 60
    return -offset if parts[1] == "-" else offset


def _nanoseconds(fraction: str) -> int:
    digits = fraction[1:]
    if fraction[0] not in ".," or not (digits.isascii() and digits.isdecimal()):
        raise ValueError("the fraction is malformed")
    return int(digits[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, "0"))
