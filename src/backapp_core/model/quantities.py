"""Sizes, stretches of time and counts, as people read them at either door."""

import re

from backapp_core.errors import InputError
from backapp_core.model.names import to_line

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_LONGEST_SECONDS = 365 * 86400
_STRETCH = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) *([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = ("", "k", "m", "g", "t", "p")


def size(count_bytes: float) -> str:
    """Return a number of bytes as people read it: ``1.5 GiB``."""
    if count_bytes < _STEP:
        return f"{count_bytes:.0f} B"
    # Half of the last shown digit is added, so that 1023.96 KiB becomes 1.0 MiB and not 1024.0 KiB.
    power = 1
    while count_bytes + _STEP**power / 20 >= _STEP ** (power + 1) and power < len(_UNITS):
        power += 1
    return f"{count_bytes / _STEP**power:.1f} {_UNITS[power - 1]}"


def size_from_text(text: str) -> int | None:
    """Return the bytes that ``10M`` or ``1.5 GiB`` says; None if it says no size.

    Units are powers of 1024, as in restic; without one it is bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    return int(float(match[1]) * _STEP ** _POWERS.index(match[2].lower()))


def duration(seconds: float) -> str:
    """Return a stretch of time as ``0:07``, ``12:34`` or ``3:02:01``; less than none is none."""
    minutes, rest = divmod(int(max(0.0, seconds) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def seconds_of(text: str) -> float:
    """Return the stretch of time that ``1h30m``, ``5m`` or ``90s`` says, in seconds.

    Raises:
        InputError: If it says none, or more than a year.
    """
    match = _STRETCH.fullmatch(text) if text else None
    if match is None:
        raise InputError(f"'{to_line(text)}' is no stretch of time; write it like 90s, 5m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if total > _LONGEST_SECONDS:
        raise InputError(f"'{to_line(text)}' is more than a year; write it like 90s, 5m or 1h30m")
    return float(total)


def count(number: int, one: str, many: str = "") -> str:
    """Return ``1 file``, ``2 files``, ``1,234 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
