"""What a policy keeps, seen by the clocks of the machines that took the snapshots."""

from datetime import UTC, datetime, timedelta

import pytest

from backapp_core.model.retention import Retention, Within, decide
from backapp_core.model.snapshots import Snapshot

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)  # of a Monday
NOW = MIDNIGHT + timedelta(days=365)
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
    decisions = decide(snapshots, Retention(**{rule: 7}), now=NOW)
    assert [one.snapshot for one in decisions if any(why == rule for why in one.reasons)] == [
        taken(one, ahead_hours=ahead_hours) for one in kept
    ]


def test_a_month_ago_is_counted_by_the_clock_of_the_newest_snapshot():
    newest = taken(30 * 24 - 1, ahead_hours=2)  # 1 April there, 31 March in UTC
    within = taken(0, ahead_hours=2)  # 2 March; a month before 31 March would be 3 March
    before = taken(-30, ahead_hours=2)
    decisions = decide([newest, within, before], Retention(within=Within(months=1)), now=NOW)
    assert [one.is_kept for one in decisions] == [True, True, False]


@pytest.mark.parametrize("rule", ["within", "within_daily"])
def test_a_clock_that_ran_ahead_does_not_cost_the_snapshots_of_a_window(rule):
    future = taken(1000 * 24, ahead_hours=0)
    present, old = taken(0, ahead_hours=0), taken(-24 * 24, ahead_hours=0)
    policy = Retention(**{rule: Within(days=7)})
    decisions = decide([future, present, old], policy, now=NOW)
    assert [one.is_kept for one in decisions] == [True, True, False]
    decisions = decide([future, present], policy, now=MIDNIGHT - timedelta(days=1))
    assert [one.is_kept for one in decisions] == [True, True]


@pytest.mark.parametrize("ahead_hours", [-12, 0, 14])
def test_a_window_may_reach_back_before_the_calendar(ahead_hours):
    snapshots = [taken(-one * HOUR, ahead_hours=ahead_hours) for one in range(3)]
    decisions = decide(snapshots, Retention(within=Within(years=9999)), now=NOW)
    assert all(one.is_kept for one in decisions)
