"""Which snapshots a policy keeps: a pure function over their times and tags.

The rules and their arithmetic are restic's: rules are independent, a snapshot stays if any rule
wants it, calendar rules count periods that hold a snapshot (not periods that pass), newest first,
and time windows reach back from the newest snapshot of the group, not from today, so that a machine
that was switched off for a year does not lose its history. Neither does one whose clock ran ahead
for a day: what was taken in the future is not the newest.
"""

import re
from collections.abc import Callable, Hashable, Iterable
from datetime import datetime, timedelta

from attrs import field, frozen
from typing_extensions import override

from backapp_core.errors import InputError
from backapp_core.model.names import to_line
from backapp_core.model.snapshots import Snapshot

_MONTHS_OF_A_YEAR = 12


@frozen
class Within:
    """A stretch of calendar time, as in restic's ``1y6m7d12h``."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> "Within":
        """Read ``1y6m7d12h``; every part is optional but one must be there.

        Raises:
            InputError: If ``text`` is no such stretch.
        """
        match = re.fullmatch(r"(?:(\d{1,6})y)?(?:(\d{1,6})m)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?", text)
        if not text or match is None:
            raise InputError(
                f"'{to_line(text)}' is no duration; write it like 1y6m7d12h, or any part of that"
            )
        years, months, days, hours = (int(part or 0) for part in match.groups())
        return cls(years=years, months=months, days=days, hours=hours)

    def before(self, moment: datetime) -> datetime:
        """Return the moment that lies this stretch before ``moment``; no earlier than year 1."""
        months = moment.month - 1 - self.months
        months += (moment.year - self.years) * _MONTHS_OF_A_YEAR
        if months < _MONTHS_OF_A_YEAR:
            return datetime.min.replace(tzinfo=moment.tzinfo)
        first = moment.replace(
            year=months // _MONTHS_OF_A_YEAR, month=months % _MONTHS_OF_A_YEAR + 1, day=1
        )
        try:
            # Days are added and not set: 31 March minus a month is 3 March, as restic and Go's time
            # package have it.
            return first + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)
        except OverflowError:
            return datetime.min.replace(tzinfo=moment.tzinfo)

    def __bool__(self) -> bool:
        return bool(self.years or self.months or self.days or self.hours)

    @override
    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{count}{unit}" for count, unit in parts if count)


@frozen
class Retention:
    """How many snapshots of each sort stay; -1 keeps all of a sort, 0 makes no rule."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    """Weeks as ISO 8601 counts them."""
    monthly: int = 0
    yearly: int = 0
    within: Within = Within()
    within_hourly: Within = Within()
    within_daily: Within = Within()
    within_weekly: Within = Within()
    within_monthly: Within = Within()
    within_yearly: Within = Within()
    tags: tuple[frozenset[str], ...] = field(default=())
    """A snapshot that has all tags of one of the sets stays."""

    @property
    def is_empty(self) -> bool:
        """Whether no rule is given at all (which keeps nothing, so doors refuse it)."""
        return self == Retention()


@frozen
class Decision:
    """What a policy says about one snapshot."""

    snapshot: Snapshot
    reasons: tuple[str, ...]
    """The rules that want it, in words; empty if it goes."""

    @property
    def is_kept(self) -> bool:
        """Whether any rule wants it."""
        return bool(self.reasons)


def decide(snapshots: Iterable[Snapshot], retention: Retention, *, now: datetime) -> list[Decision]:
    """Apply ``retention`` to one group of snapshots, newest first.

    Days, weeks and so on are those of the machines that took the snapshots, as restic has it.
    A snapshot that was taken after ``now``, by a clock that was wrong, moves no window.
    """
    ordered = sorted(snapshots, key=lambda snapshot: (snapshot.taken_at, snapshot.id), reverse=True)
    if not ordered:
        return []
    past = (one.taken_there_at for one in ordered if one.taken_at < now)
    rules = _rules(retention, newest_at=next(past, None))
    return [
        Decision(
            snapshot,
            tuple(
                reason
                for rule in rules
                if (reason := rule(snapshot, is_oldest=index == len(ordered) - 1))
            ),
        )
        for index, snapshot in enumerate(ordered)
    ]


def group_by(
    snapshots: Iterable[Snapshot], *, hosts: bool, paths: bool, tags: bool
) -> list[list[Snapshot]]:
    """Split ``snapshots`` into groups that agree in the chosen fields.

    Groups and members keep their order.
    """
    groups: dict[Hashable, list[Snapshot]] = {}
    for snapshot in snapshots:
        key = (
            snapshot.hostname if hosts else None,
            snapshot.roots if paths else None,
            snapshot.tags if tags else None,
        )
        groups.setdefault(key, []).append(snapshot)
    return list(groups.values())


class _Rule:
    """A rule with its memory; called once per snapshot, newest first."""

    def __init__(
        self,
        name: str,
        period: Callable[[datetime], Hashable] | None,
        *,
        count: int = -1,
        since: datetime | None = None,
    ) -> None:
        self._name = name
        self._period = period
        self._left = count
        self._since = since
        self._last: Hashable = None

    def __call__(self, snapshot: Snapshot, *, is_oldest: bool) -> str:
        if self._left == 0 or (self._since is not None and snapshot.taken_at <= self._since):
            return ""
        if self._period is not None:
            period = self._period(snapshot.taken_there_at)
            if period == self._last:
                # The oldest snapshot stands in for a period whose own first one is gone.
                return f"oldest {self._name}" if is_oldest and self._left != 0 else ""
            self._last = period
        if self._left > 0:
            self._left -= 1
        return self._name


class _TagRule:
    def __init__(self, tags: frozenset[str]) -> None:
        self._tags = tags

    def __call__(self, snapshot: Snapshot, *, is_oldest: bool) -> str:
        del is_oldest
        return f"tags {','.join(sorted(self._tags))}" if self._tags <= set(snapshot.tags) else ""


def _rules(retention: Retention, *, newest_at: datetime | None) -> list[_Rule | _TagRule]:
    rules: list[_Rule | _TagRule] = []
    for name, period in _PERIODS.items():
        if count := getattr(retention, name):
            rules.append(_Rule(name, period, count=count))
    for name, period in _PERIODS.items():
        window: Within = (
            retention.within if name == "last" else getattr(retention, f"within_{name}")
        )
        if window:
            label = f"within {window}" if name == "last" else f"{name} within {window}"
            since = window.before(newest_at) if newest_at else None
            rules.append(_Rule(label, period, since=since))
    rules.extend(_TagRule(tags) for tags in retention.tags)
    return rules


_PERIODS: dict[str, Callable[[datetime], Hashable] | None] = {
    "last": None,
    "hourly": lambda at: (at.year, at.month, at.day, at.hour),
    "daily": lambda at: (at.year, at.month, at.day),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: at.year,
}
