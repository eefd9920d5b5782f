"""What every scheduler must do."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from backapp_core.errors import InputError, InvalidSchedule
from backapp_core.ports.schedulers import Scheduler, SchedulerKind

_MOMENT = datetime(2026, 5, 17, 11, 42, 7, 250_000, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class SchedulerContract:
    """Inherit it and supply `kind`, `expressions` and `invalid_expressions`."""

    @pytest.fixture
    def kind(self) -> SchedulerKind:
        """The kind under test."""
        raise NotImplementedError

    @pytest.fixture
    def expressions(self) -> Sequence[str]:
        """Expressions that are due at least once a year, in any time zone."""
        raise NotImplementedError

    @pytest.fixture
    def invalid_expressions(self) -> Sequence[str]:
        """Expressions that must be refused."""
        raise NotImplementedError

    @pytest.fixture
    def time_zones(self) -> Sequence[str]:
        """Zones to try: with and without clock changes, of whole hours and of parts."""
        return ("UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata")

    @pytest.fixture
    def schedulers(
        self, kind: SchedulerKind, expressions: Sequence[str], time_zones: Sequence[str]
    ) -> Sequence[Scheduler]:
        """Every expression in every zone."""
        return [kind.parse(expression, zone) for expression in expressions for zone in time_zones]

    def test_next_is_later_and_in_utc(self, schedulers: Sequence[Scheduler]) -> None:
        """The answer lies strictly after the question, aware, with no offset."""
        for scheduler in schedulers:
            due_at = scheduler.next_after(_MOMENT)
            assert due_at is not None
            assert due_at > _MOMENT
            assert due_at.tzinfo is UTC

    def test_previous_is_earlier_and_in_utc(self, schedulers: Sequence[Scheduler]) -> None:
        """The answer lies strictly before the question, aware, with no offset."""
        for scheduler in schedulers:
            due_at = scheduler.previous_before(_MOMENT)
            assert due_at is not None
            assert due_at < _MOMENT
            assert due_at.tzinfo is UTC

    def test_a_due_moment_is_not_its_own_next_or_previous(
        self, schedulers: Sequence[Scheduler]
    ) -> None:
        """Asked at a due moment, both directions move on; a microsecond aside, they find it."""
        for scheduler in schedulers:
            due_at = scheduler.next_after(_MOMENT)
            assert due_at is not None
            later, earlier = scheduler.next_after(due_at), scheduler.previous_before(due_at)
            assert later is None or later > due_at
            assert earlier is None or earlier < due_at
            assert scheduler.next_after(due_at - _TICK) == due_at
            assert scheduler.previous_before(due_at + _TICK) == due_at

    def test_going_forth_and_back_meets_the_same_moments(
        self, schedulers: Sequence[Scheduler]
    ) -> None:
        """The due moments are one set, whichever way it is walked."""
        for scheduler in schedulers:
            forth: list[datetime] = []
            at: datetime | None = _MOMENT
            while at is not None and len(forth) < 20:
                at = scheduler.next_after(at)
                if at is not None:
                    forth.append(at)
            back = [forth[-1]]
            while len(back) < len(forth):
                previous = scheduler.previous_before(back[-1])
                assert previous is not None
                back.append(previous)
            assert back[::-1] == forth

    def test_the_zone_of_the_question_does_not_matter(
        self, kind: SchedulerKind, expressions: Sequence[str]
    ) -> None:
        """One instant, written in several zones, has one next and one previous moment."""
        from zoneinfo import ZoneInfo  # noqa: PLC0415  # only this test needs it

        moved = _MOMENT.astimezone(ZoneInfo("America/Los_Angeles"))
        for expression in expressions:
            scheduler = kind.parse(expression, "Europe/Vienna")
            assert scheduler.next_after(moved) == scheduler.next_after(_MOMENT)
            assert scheduler.previous_before(moved) == scheduler.previous_before(_MOMENT)

    def test_a_naive_moment_is_refused(self, schedulers: Sequence[Scheduler]) -> None:
        """A moment without a zone could mean anything."""
        naive = _MOMENT.replace(tzinfo=None)
        for scheduler in schedulers:
            with pytest.raises(InputError):
                scheduler.next_after(naive)
            with pytest.raises(InputError):
                scheduler.previous_before(naive)

    def test_the_ends_of_time_are_no_accident(self, schedulers: Sequence[Scheduler]) -> None:
        """There is no moment after the last or before the first."""
        for scheduler in schedulers:
            assert scheduler.next_after(datetime.max.replace(tzinfo=UTC)) is None
            assert scheduler.previous_before(datetime.min.replace(tzinfo=UTC)) is None

    def test_an_invalid_expression_is_refused_in_one_sentence(
        self, kind: SchedulerKind, invalid_expressions: Sequence[str]
    ) -> None:
        """The message is one printable line without a full stop and of bounded length."""
        for expression in invalid_expressions:
            with pytest.raises(InvalidSchedule) as caught:
                kind.parse(expression, "UTC")
            _assert_is_sentence(caught.value.message)

    @pytest.mark.parametrize(
        "zone",
        [
            "",
            "Europe/Atlantis",
            "../etc/passwd",
            "/etc/localtime",
            "Europe",
            "a\0b",
            "\ud800",
            "UTC\n",
            "٣",
            "x" * 10_000,
        ],
    )
    def test_an_unknown_zone_is_refused(
        self, kind: SchedulerKind, expressions: Sequence[str], zone: str
    ) -> None:
        """Neither a path nor a folder of the zone database is a zone."""
        with pytest.raises(InvalidSchedule) as caught:
            kind.parse(expressions[0], zone)
        _assert_is_sentence(caught.value.message)

    def test_the_description_is_one_line_of_words(self, schedulers: Sequence[Scheduler]) -> None:
        """It can stand in a table."""
        for scheduler in schedulers:
            assert scheduler.description.isprintable()
            assert scheduler.description.strip()

    def test_several_threads_may_ask_one_scheduler(self, schedulers: Sequence[Scheduler]) -> None:
        """Answers do not depend on who else asks."""
        moments = [_MOMENT + timedelta(hours=7 * hour) for hour in range(20)]
        scheduler = schedulers[0]
        expected = [scheduler.next_after(moment) for moment in moments]
        with ThreadPoolExecutor(4) as threads:
            for _ in range(4):
                assert list(threads.map(scheduler.next_after, moments)) == expected


def _assert_is_sentence(message: str) -> None:
    assert message.isprintable()
    assert message
    assert not message.endswith(".")
    assert len(message) < 2000
