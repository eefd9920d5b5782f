"""What a policy keeps, seen by the clocks of the machines that took the snapshots."""

from datetime import UTC, datetime, timedelta

import pytest

from backapp_core.model.retention import Retention, Within, decide
from backapp_core.model.snapshots import Snapshot

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)  # of a Monday
HOUR = 3600


def taken(hours: float, *, ahead_hours: float) -> Snapshot:
    """Return a snapshot by its distance from a midnight in UTC and the clock of its machine."""
    at = MIDNIGHT + timedelta(hours=hours)
    offset = int(ahead_hours * HOUR)
    return Snapshot(f"{at}", at, "host", "me", (b"/",), utc_offset_seconds=offset)


@pytest.mark.parametrize("rule", ["daily", "weekly"])
@pytest.mark.parametrize(
    ("ahead_hours", "kept"), [(0, [0.5, -0.5]), (2, [0.5]), (-2, [0.5]), (0.5, [0.5, -1])]
)
def test_days_and_weeks_end_at_midnight_where_the_snapshot_was_taken(rule, ahead_hours, kept):
    hours = [-1, -0.5, 0.5] if ahead_hours == 0.5 else [-0.5, 0.5]
    snapshots = [taken(one, ahead_hours=ahead_hours) for one in hours]
    decisions = decide(snapshots, Retention(**{rule: 7}))
    assert [one.snapshot for one in decisions if any(why == rule for why in one.reasons)] == [
        taken(one, ahead_hours=ahead_hours) for one in kept
    ]


def test_a_month_ago_is_counted_by_the_clock_of_the_newest_snapshot():
    newest = taken(30 * 24 - 1, ahead_hours=2)  # 1 April there, 31 March in UTC
    within = taken(0, ahead_hours=2)  # 2 March; a month before 31 March would be 3 March
    before = taken(-30, ahead_hours=2)
    decisions = decide([newest, within, before], Retention(within=Within(months=1)))
    assert [one.is_kept for one in decisions] == [True, True, False]
