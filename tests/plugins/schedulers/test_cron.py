from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backapp_core.errors import InvalidSchedule
from backapp_core.testing.scheduler_contract import SchedulerContract
from backapp_plugins.schedulers import cron

INVALID = [
    "",
    " ",
    "* * * *",
    "* * * * * *",
    "0 0 * * * 2026",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * 32 * *",
    "* * * 13 *",
    "* * * 0 *",
    "* * * * 8",
    "*/0 * * * *",
    "* */0 * * *",
    "0 0 31 2 *",
    "0 0 30 2 *",
    "0 0 31 4,6,9,11 *",
    "5-1 * * * *",
    "1,,2 * * * *",
    ", * * * *",
    "- * * * *",
    "1- * * * *",
    "-1 * * * *",
    "+1 * * * *",
    "/5 * * * *",
    "*/ * * * *",
    "1/2/3 * * * *",
    "* * * * MOO",
    "* * * * MON#6",
    "* * * * MON#0",
    "* * * * #",
    "* * * * L",
    "@daily",
    "٣ * * * *",
    "\uff11 * * * *",
    "² * * * *",
    "* * * * ²L",
    "* * * * \u017fun",
    "0\x000 * * *",
    "0\n0 * * *",
    "0 0 * * *\n",
    "\ud800 * * * *",
    "a" * 10_000,
    "1" * 10_000 + " * * * *",
    "* " * 5_000,
    "*/" * 400,
    "1," * 450 + "1 * * *",
    "9" * 900 + " * * * *",
    "1.5 * * * *",
    "0x1 * * * *",
    "0 0 * * MON-",
    "* * L-1 * *",
    "%s * * * *",
]


class TestCron(SchedulerContract):
    @pytest.fixture
    def kind(self):
        return cron.backapp_schedulers()[0]

    @pytest.fixture
    def expressions(self):
        return (
            "30 2 * * *",
            "*/15 * * * *",
            "*/20 1-3 * * *",
            "0 */6 * * *",
            "15,45 2 * 3,10 *",
            "0 0 1 1 *",
            "0 0 31 * *",
            "59 23 L * *",
            "0 12 LW * *",
            "0 0 13 * FRI",
            "0 0 * * 5#2",
            "0 0 * * 7L",
            "5 4 */2 * mon-fri",
        )

    @pytest.fixture
    def invalid_expressions(self):
        return INVALID


def at(text, zone="UTC"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def due(expression, zone, start, count):
    scheduler = cron.parse(expression, zone)
    found = []
    moment = start
    for _ in range(count):
        moment = scheduler.next_after(moment)
        found.append(moment.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %Z"))
    return found


def test_moment_skipped_in_spring_is_due_at_the_end_of_the_gap():
    assert due("30 2 * * *", "Europe/Vienna", at("2026-03-28T00:00"), 3) == [
        "03-28 02:30 CET",
        "03-29 03:00 CEST",
        "03-30 02:30 CEST",
    ]


def test_moments_skipped_in_spring_coincide_with_the_one_after_the_gap():
    assert due("0,30 2-3 * * *", "Europe/Vienna", at("2026-03-29T00:00"), 3) == [
        "03-29 03:00 CEST",
        "03-29 03:30 CEST",
        "03-30 02:00 CEST",
    ]


def test_moment_repeated_in_autumn_is_due_once():
    assert due("30 2 * * *", "Europe/Vienna", at("2026-10-24T12:00"), 2) == [
        "10-25 02:30 CEST",
        "10-26 02:30 CET",
    ]


def test_rhythm_goes_on_through_both_passes_in_autumn():
    assert due("*/30 * * * *", "Europe/Vienna", at("2026-10-24T23:45"), 5) == [
        "10-25 02:00 CEST",
        "10-25 02:30 CEST",
        "10-25 02:00 CET",
        "10-25 02:30 CET",
        "10-25 03:00 CET",
    ]


def test_rhythm_skips_the_gap_in_spring():
    assert due("0 */2 * * *", "Europe/Vienna", at("2026-03-28T23:30"), 2) == [
        "03-29 04:00 CEST",
        "03-29 06:00 CEST",
    ]


@pytest.mark.parametrize(("clock", "expected"), [(0, "10-25 02:30"), (1, "10-26 02:30")])
def test_search_that_starts_in_a_repeated_hour_knows_which_pass_it_is_in(clock, expected):
    zone = ZoneInfo("Europe/Vienna")
    start = datetime(2026, 10, 25, 2, 15, tzinfo=zone, fold=clock)
    found = cron.parse("30 2 * * *", zone.key).next_after(start)
    assert found > start
    assert found.astimezone(zone).strftime("%m-%d %H:%M") == expected


def test_search_backwards_from_the_second_pass_finds_the_first():
    zone = ZoneInfo("Europe/Vienna")
    start = datetime(2026, 10, 25, 2, 15, tzinfo=zone, fold=1)
    found = cron.parse("30 2 * * *", zone.key).previous_before(start)
    assert found == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_half_hour_change_keeps_the_first_half_of_the_hour_after_it():
    assert due("*/15 2 * * *", "Australia/Lord_Howe", at("2026-04-04T14:00"), 4) == [
        "04-05 02:00 +1030",
        "04-05 02:15 +1030",
        "04-05 02:30 +1030",
        "04-05 02:45 +1030",
    ]


def test_day_that_a_zone_left_out_is_due_when_the_next_begins():
    assert due("0 2 * * *", "Pacific/Apia", at("2011-12-29T20:00"), 2) == [
        "12-31 00:00 +14",
        "12-31 02:00 +14",
    ]


def test_leap_day_comes_every_four_years_but_not_in_2100():
    scheduler = cron.parse("0 0 29 2 *", "UTC")
    assert scheduler.next_after(at("2026-01-01")) == at("2028-02-29")
    assert scheduler.next_after(at("2096-03-01")) == at("2104-02-29")
    assert scheduler.previous_before(at("2104-02-29")) == at("2096-02-29")


def test_the_31st_skips_shorter_months():
    assert due("0 0 31 * *", "UTC", at("2026-01-01"), 4) == [
        "01-31 00:00 UTC",
        "03-31 00:00 UTC",
        "05-31 00:00 UTC",
        "07-31 00:00 UTC",
    ]


def test_weekday_or_day_of_month_suffices_when_both_are_named():
    assert due("0 0 13 * FRI", "UTC", at("2026-11-01"), 4) == [
        "11-06 00:00 UTC",
        "11-13 00:00 UTC",
        "11-20 00:00 UTC",
        "11-27 00:00 UTC",
    ]


def test_weekday_and_day_of_month_must_match_when_one_begins_with_a_star():
    assert due("0 0 */10 * FRI", "UTC", at("2026-11-01"), 2) == [
        "12-11 00:00 UTC",
        "01-01 00:00 UTC",
    ]


def test_days_that_never_meet_are_never_due():
    scheduler = cron.parse("0 0 */31 * 1#3", "Europe/Vienna")
    assert scheduler.next_after(at("2026-01-01")) is None
    assert scheduler.previous_before(at("2026-01-01")) is None


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("5-5/3 * * * *", "5 * * * *"),
        ("0 0 * JAN-1/2 *", "0 0 * 1 *"),
        ("0 0 * * 00-sun/2", "0 0 * * 0"),
        ("0 0 1,4-4/2 * *", "0 0 1,4 * *"),
    ],
)
def test_step_through_a_range_of_one_is_that_one(expression, same):
    start = at("2026-01-01")
    assert due(expression, "UTC", start, 5) == due(same, "UTC", start, 5)


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("61 * * * *", "'61' in cron expression '61 * * * *' is no minute; use 0-59"),
        ("0 0 31 2 *", "cron expression '0 0 31 2 *' is never due: no month in it has that day"),
        ("* * * * * *", "has 6 fields; it needs five"),
        ("0 */0 * * *", "'*/0' in cron expression '0 */0 * * *' is no hour; use 0-23"),
        ("0 0 * * FUN", "is no day-of-week"),
    ],
)
def test_message_says_what_is_wrong(expression, named):
    with pytest.raises(InvalidSchedule) as caught:
        cron.parse(expression, "UTC")
    assert named in caught.value.message


def test_description_names_the_zone():
    assert cron.parse("30 2 * * 1-5", "Europe/Vienna").description == (
        "At 02:30 on Monday through Friday (Europe/Vienna)"
    )


# The reference: reads a field item by item and steps through time minute by minute, with nothing of
# cronsim's.

NAMES = {
    "JAN": 1,
    "FEB": 2,
    "DEC": 12,
    **{
        name: number
        for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])
    },
}


def matches(field, low, high, value):
    for item in field.split(","):
        span, _, step = item.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (int(NAMES.get(part, part)) for part in span.split("-"))
        else:
            first = int(NAMES.get(span, span))
            last = high if step else first
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


def is_day(fields, day):
    in_month = matches(fields[2], 1, 31, day.day)
    weekday = day.isoweekday() % 7
    in_week = matches(fields[4], 0, 7, weekday) or (weekday == 0 and matches(fields[4], 0, 7, 7))
    if fields[2][0] == "*" or fields[4][0] == "*":
        return in_month and in_week
    return in_month or in_week


def reference(expression, moment, step):
    """Walk minute by minute, over days without a match at once; None after 50 years."""
    fields = expression.split()
    minute = moment.replace(second=0, microsecond=0)
    if step < 0 and minute < moment:
        minute += timedelta(minutes=1)
    end = minute.year + 51 * step
    while True:
        minute += timedelta(minutes=step)
        if minute.year == end:
            return None
        if not (matches(fields[3], 1, 12, minute.month) and is_day(fields, minute)):
            edge = (
                minute.replace(hour=23, minute=59) if step > 0 else minute.replace(hour=0, minute=0)
            )
            minute = edge
        elif matches(fields[1], 0, 23, minute.hour) and matches(fields[0], 0, 59, minute.minute):
            return minute


def field(low, high, names=()):
    number = st.integers(low, high).map(str)
    if names:
        number = number | st.sampled_from(names)
    single = number
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(
        lambda ends: f"{min(ends)}-{max(ends)}"
    )
    step = st.integers(1, high + 5)
    stepped = st.tuples(st.just("*") | span | st.integers(low, high).map(str), step).map(
        lambda parts: f"{parts[0]}/{parts[1]}"
    )
    item = single | span | stepped
    return st.just("*") | item | st.lists(item, min_size=2, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(
    field(0, 59),
    field(0, 23),
    field(1, 31),
    field(1, 12, ["JAN", "FEB", "DEC"]),
    field(0, 7, ["SUN", "WED", "SAT"]),
).map(" ".join)
SECONDS = st.integers(0, 120 * 365 * 24 * 3600)
MOMENTS = SECONDS.map(lambda seconds: datetime(1975, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def compare(expression, moment):
    try:
        scheduler = cron.parse(expression, "UTC")
    except InvalidSchedule as error:
        refusal = error.message
    else:
        refusal = ""
    if refusal:
        assert "is never due" in refusal
        assert reference(expression, moment, 1) is None
        return
    assert scheduler.next_after(moment) == reference(expression, moment, 1)
    assert scheduler.previous_before(moment) == reference(expression, moment, -1)


@given(EXPRESSIONS, MOMENTS)
@settings(max_examples=200, deadline=None)
def test_next_and_previous_equal_the_reference(expression, moment):
    compare(expression, moment)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(EXPRESSIONS, MOMENTS)
@settings(max_examples=10_000, deadline=None)
def test_next_and_previous_equal_the_reference_on_ten_thousand(expression, moment):
    compare(expression, moment)


ZONES = st.sampled_from(
    [
        "Europe/Vienna",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "America/St_Johns",
    ]
)
OFTEN = st.tuples(field(0, 59), field(0, 23)).map(lambda parts: f"{parts[0]} {parts[1]} * * *")


def is_due(expression, instant, zone):
    """Say by the rules, from this instant and the one before it, whether a job is due now."""
    fields = expression.split()
    wall = instant.astimezone(zone)
    shown = matches(fields[1], 0, 23, wall.hour) and matches(fields[0], 0, 59, wall.minute)
    if fields[0][0] == "*" or fields[1][0] == "*":
        return shown
    before = (instant - timedelta(minutes=1)).astimezone(zone)
    skipped = wall.replace(tzinfo=None) - before.replace(tzinfo=None) - timedelta(minutes=1)
    gap = [
        before.replace(tzinfo=None) + timedelta(minutes=1 + n)
        for n in range(skipped // timedelta(minutes=1))
    ]
    return (shown and not wall.fold) or any(
        matches(fields[1], 0, 23, at.hour) and matches(fields[0], 0, 59, at.minute) for at in gap
    )


CHANGES = st.tuples(
    OFTEN,
    ZONES,
    st.integers(2015, 2035),
    st.sampled_from([3, 4, 10, 11]),
    st.integers(1, 28),
    st.integers(0, 1439),
)


@given(CHANGES)
@settings(max_examples=40, deadline=None)
def test_next_and_previous_follow_the_rules_about_clock_changes(change):
    compare_around_a_change(*change)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(CHANGES)
@settings(max_examples=2_000, deadline=None)
def test_next_and_previous_follow_the_rules_about_many_clock_changes(change):
    compare_around_a_change(*change)


def compare_around_a_change(expression, zone, year, month, day, minute):
    start = datetime(year, month, day, tzinfo=UTC) + timedelta(minutes=minute)
    # Look where the clock changes next, if it does soon.
    key, zone = zone, ZoneInfo(zone)
    for hours in range(24 * 20):
        probe = start + timedelta(hours=hours)
        if (
            probe.astimezone(zone).utcoffset()
            != (probe + timedelta(hours=3)).astimezone(zone).utcoffset()
        ):
            start = probe
            break
    scheduler = cron.parse(expression, key)
    minutes = [start + timedelta(minutes=n) for n in range(1, 6 * 60)]
    expected = [at for at in minutes if is_due(expression, at, zone)]
    found = []
    moment = start
    while (moment := scheduler.next_after(moment)) is not None and moment <= minutes[-1]:
        found.append(moment)
    assert found == expected
    back = []
    moment = minutes[-1] + timedelta(minutes=1)
    while (moment := scheduler.previous_before(moment)) is not None and moment > start:
        back.append(moment)
    assert back[::-1] == expected


@given(st.text(max_size=60) | st.text("0123456789*/,-#LW MONTUE", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_understood_or_refused(text):
    try:
        scheduler = cron.parse(text, "UTC")
    except InvalidSchedule as error:
        said = error.message
    else:
        said = scheduler.description
        scheduler.next_after(at("2026-01-01"))
    assert said.isprintable()
