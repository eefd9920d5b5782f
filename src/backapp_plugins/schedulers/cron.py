"""Cron expressions in a time zone, with Debian cron's treatment of clock changes.

The expression is matched against the wall clock by cronsim; which instants a matching wall-clock
minute stands for is decided here, because a search that starts inside a repeated hour must know
which of the two it is in:

* An expression whose minute and hour both begin with something else than ``*`` names moments of the
  day. One that the clock skips is due at the end of the gap, one that comes twice is due the first
  time only.
* Any other expression names a rhythm. It is due whenever the wall clock shows a matching minute:
  never in a gap, and in both passes of a repeated hour.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import final
from zoneinfo import ZoneInfo

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import (
    InputError,
    InvalidSchedule,
    Scheduler,
    SchedulerKind,
    hookimpl,
    to_line,
)

_LONGEST_EXPRESSION = 1000
_LONGEST_ZONE_NAME = 100
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")
_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L or LW",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT (0 and 7 are Sunday)",
}
_IDLE_STEP = re.compile(r"(\w+)-(\w+)/\d+")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_NUMBERS = {
    **{name: str(number) for number, name in enumerate(_MONTHS, start=1)},
    **{name: str(number) for number, name in enumerate(_WEEKDAYS)},
}
# No zone changes its offset twice within this time, or by more than it.
_AROUND = timedelta(days=2)
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_ANY_WALL = datetime(2000, 1, 1)  # noqa: DTZ001  # wall-clock time is naive; cronsim wants one to begin at


@final
@frozen
class CronScheduler(Scheduler):
    """Due moments of one cron expression; made by `parse`, which checks it."""

    _expression: str
    _zone: ZoneInfo
    _is_moment_of_day: bool
    """Whether minute and hour name moments of the day rather than a rhythm."""

    @override
    def next_after(self, moment: datetime) -> datetime | None:
        try:
            return self._next_after(_in_utc(moment))
        except OverflowError:
            return None

    @override
    def previous_before(self, moment: datetime) -> datetime | None:
        try:
            return self._previous_before(_in_utc(moment))
        except OverflowError:
            return None

    @property
    @override
    def description(self) -> str:
        from cronsim import CronSim

        words = CronSim(self._expression, _ANY_WALL).explain()
        return f"{words} ({self._zone.key})"

    def _next_after(self, moment: datetime) -> datetime | None:
        start, slack = self._wall_of(moment)
        best: datetime | None = None
        for wall in self._walls(start - slack - _MINUTE):
            instants = self._instants(wall)
            best = min(
                (at for at in (*instants, best) if at is not None and at > moment), default=None
            )
            # First passes come in the order of the walls, so nothing earlier than this one can
            # follow.
            if best is not None and instants and instants[0] >= best:
                return best
        return best

    def _previous_before(self, moment: datetime) -> datetime | None:
        start, slack = self._wall_of(moment)
        best: datetime | None = None
        for wall in self._walls(start + slack + _MINUTE, is_backwards=True):
            instants = self._instants(wall)
            best = max(
                (at for at in (*instants, best) if at is not None and at < moment), default=None
            )
            if best is not None and instants and instants[-1] <= best:
                return best
        return best

    def _walls(self, start: datetime, *, is_backwards: bool = False) -> Iterator[datetime]:
        from cronsim import CronSim

        return CronSim(self._expression, start, reverse=is_backwards)

    def _wall_of(self, moment: datetime) -> tuple[datetime, timedelta]:
        """Return the naive wall-clock time, and by how much the clock is set about that time."""
        offsets = [
            (moment + shift).astimezone(self._zone).utcoffset() or timedelta()
            for shift in (-_AROUND, timedelta(), _AROUND)
        ]
        return moment.replace(tzinfo=None) + offsets[1], max(offsets) - min(offsets)

    def _instants(self, wall: datetime) -> Sequence[datetime]:
        """Return the instants at which what is due at ``wall`` is due, ascending."""
        first = wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        second = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        if first == second:
            return (first,)
        if first < second:
            return (first,) if self._is_moment_of_day else (first, second)
        return (self._end_of_gap(second, first),) if self._is_moment_of_day else ()

    def _end_of_gap(self, before: datetime, after: datetime) -> datetime:
        """Return the first second after ``before`` that has the offset of ``after``."""
        offset = after.astimezone(self._zone).utcoffset()
        while after - before > _SECOND:
            middle = before + (after - before) // _SECOND // 2 * _SECOND
            if middle.astimezone(self._zone).utcoffset() == offset:
                after = middle
            else:
                before = middle
        return after


@lru_cache(maxsize=1000)  # a page asks for every job anew
def parse(expression: str, time_zone: str) -> CronScheduler:
    """Make a scheduler from five cron fields and an IANA time zone name.

    Fields are those of Debian cron, names in any case, and also ``L`` and ``LW`` (last day, last
    weekday of the month) and ``5L`` and ``5#2`` (last, second Friday). Day of month and day of week
    must both match if either begins with
    ``*``; otherwise one of them suffices.

    Raises:
        InvalidSchedule: If either cannot be understood, or the expression names only days that no
        month in it has.
    """
    return CronScheduler(
        _checked(expression),
        _zone_called(time_zone),
        not any(field.startswith("*") for field in expression.split()[:2]),
    )


def _checked(expression: str) -> str:
    from cronsim import CronSim, CronSimError

    if len(expression) > _LONGEST_EXPRESSION:
        raise InvalidSchedule(
            f"the cron expression has {len(expression):,} characters;"
            f" {_LONGEST_EXPRESSION:,} are allowed"
        )
    shown = to_line(expression)
    if not expression.isascii() or not expression.replace("\t", " ").isprintable():
        raise InvalidSchedule(
            f"cron expression '{shown}' holds characters that have no place in one"
        )
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise InvalidSchedule(
            f"cron expression '{shown}' has {len(fields)} fields; it needs five:"
            f" minute, hour, day of month, month, day of week"
        )
    for index, name in enumerate(_FIELDS):
        alone = ["*"] * len(_FIELDS)
        alone[index] = fields[index]
        try:
            CronSim(" ".join(alone), _ANY_WALL)
        except CronSimError as error:
            raise InvalidSchedule(
                f"'{fields[index]}' in cron expression '{shown}' is no {name}; use {_FIELDS[name]}"
            ) from error
    try:
        CronSim(expression, _ANY_WALL)
    except CronSimError as error:
        raise InvalidSchedule(
            f"cron expression '{shown}' is never due: no month in it has that day"
        ) from error
    return " ".join(map(_without_idle_steps, fields))


def _without_idle_steps(field: str) -> str:
    """Write ``5-5/3`` as ``5``, which it is to Debian cron; cronsim takes it for ``5/3``."""
    return ",".join(_IDLE_STEP.sub(_begin_if_one, item) for item in field.split(","))


def _begin_if_one(item: re.Match[str]) -> str:
    begin, end = (_NUMBERS.get(name.upper()) or name for name in item.groups())
    return begin if int(begin) == int(end) else item[0]


def _zone_called(name: str) -> ZoneInfo:
    shown = to_line(name[:_LONGEST_ZONE_NAME])
    if len(name) <= _LONGEST_ZONE_NAME and _ZONE_NAME.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise InvalidSchedule(
                f"there is no time zone '{shown}'; use an IANA name such as Europe/Vienna"
            ) from error
    raise InvalidSchedule(f"'{shown}' is no time zone; use an IANA name such as Europe/Vienna")


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise InputError(f"the moment {moment.isoformat()} has no time zone")
    return moment.astimezone(UTC)


@hookimpl
def backapp_schedulers() -> Sequence[SchedulerKind]:
    """Offer the cron scheduler."""
    return (SchedulerKind(name="cron", parse=parse),)
