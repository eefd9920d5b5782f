import json
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backapp_core import events
from backapp_core.codec import event_from_plain, event_to_plain, from_plain, to_plain
from backapp_core.errors import InvalidSettings
from backapp_core.model.entries import Node
from backapp_core.model.jobs import BackupOptions, Job
from backapp_core.model.notifications import Notification
from backapp_core.model.rates import Rate
from backapp_core.model.repositories import (
    CheckReport,
    CleanUpOptions,
    CleanUpPlan,
    Finding,
    RemovalPlan,
    RepositoryInfo,
    RepositoryStats,
)
from backapp_core.model.retention import Retention, Within
from backapp_core.model.runs import Run, RunState
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Counts, Snapshot, SnapshotFilter
from backapp_core.testing.store_fixtures import AT, JOB, make_run

MODELS = [
    BackupOptions,
    CheckReport,
    CleanUpPlan,
    Counts,
    Finding,
    Job,
    Node,
    Notification,
    RemovalPlan,
    RepositoryInfo,
    RepositoryStats,
    Retention,
    Run,
    Schedule,
    Snapshot,
    SnapshotFilter,
]
EVENTS = typing.get_args(events.Event)

# Text with lone surrogates is what a damaged file name or an error message may hold.
TEXT = st.text(max_size=8) | st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=4)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
NUMBERS = st.integers(0, 999_999)
PRIMITIVES = {
    str: TEXT,
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    object: PLAIN,
    type(None): st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    Within: st.builds(Within, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
}


def values_of(kind):  # noqa: C901, PLR0911, PLR0912  # one branch per shape of annotation
    """Return a strategy for every value that an annotation allows."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    if origin in {typing.Union, types.UnionType}:
        return st.one_of(*map(values_of, arguments))
    if origin is tuple and arguments[-1] is ...:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, arguments))
    if origin is frozenset:
        return st.frozensets(values_of(arguments[0]), max_size=2)
    if origin is Mapping:
        return st.dictionaries(*map(values_of, arguments), max_size=2)
    if issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    if not attrs.has(kind):
        return st.builds(kind, *(values_of(hints[name]) for name in kind._fields))
    fields = {field.name: values_of(hints[field.name]) for field in attrs.fields(kind)}
    if kind is Job:
        fields["name"] = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
    if kind is CleanUpOptions:
        fields["max_unused_share"] = st.floats(0, 1)
        fields["max_unused_bytes"] = fields["max_repack_bytes"] = st.none() | st.integers(0)
    return st.builds(kind, **fields)


def through_json(plain):
    return json.loads(json.dumps(plain))


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_every_model_value_survives_json(kind):
    @given(values_of(kind))
    @settings(max_examples=15, deadline=None)
    def check(value):
        assert from_plain(through_json(to_plain(value)), kind, source="value") == value

    check()


@pytest.mark.parametrize("rate", [Rate(), Rate(1500), Rate(2 << 20)])
def test_a_rate_is_text_and_survives(rate):
    assert from_plain(through_json(to_plain(rate)), Rate, source="value") == rate


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_survives_json(kind):
    @given(values_of(kind))
    @settings(max_examples=15, deadline=None)
    def check(event):
        plain = through_json(event_to_plain(event))
        assert plain["type"] == kind.__name__
        assert event_from_plain(plain) == event

    check()


def test_times_are_kept_to_the_microsecond_and_written_in_utc():
    away = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))
    plain = to_plain(make_run(requested_at=away))
    assert plain["requested_at"] == "2026-03-29T01:02:03.456789+00:00"
    assert from_plain(plain, Run, source="run").requested_at.tzinfo is UTC


def faults(data, kind):
    with pytest.raises(InvalidSettings) as caught:
        from_plain(data, kind, source="settings file x")
    assert caught.value.message.startswith("settings file x cannot be used: ")
    assert caught.value.message.isprintable()
    return dict(caught.value.faults)


def test_all_faults_are_listed_with_their_paths():
    plain = to_plain(JOB)
    plain["retention"]["daily"] = "7"
    plain["retention"]["within"] = "soon"
    plain["schedule"]["zone"] = "UTC"
    plain["schedule"]["expression"] = None
    plain["roots"][1] = 5
    plain["tags"] = "nightly"
    plain["colour"] = "red"
    del plain["repository"]
    found = faults(plain, Job)
    assert set(found) == {
        "retention.daily",
        "retention.within",
        "schedule.zone",
        "schedule.expression",
        "roots[1]",
        "tags",
        "colour",
        "repository",
    }
    assert found["retention.daily"] == "expected a whole number, found text ('7')"
    assert found["colour"] == "is not known here"
    assert found["repository"] == "is missing"


WRONG = [
    None,
    True,
    5,
    2**70,
    1.5,
    float("nan"),
    "text",
    "",
    [],
    ["x"],
    {},
    {"x": 1},
    "x" * 10_000,
    "\ud800\n\x1b",
]


@pytest.mark.parametrize("kind", [*MODELS, *EVENTS], ids=lambda kind: kind.__name__)
def test_every_field_of_every_wrong_type_is_refused_with_its_path(kind):
    """Each field of an ordinary value is replaced by every sort of value; only what fits passes."""
    hints = typing.get_type_hints(kind)

    @given(values_of(kind))
    @settings(max_examples=1, deadline=None, database=None)
    def check(value):
        good = through_json(to_plain(value))
        for name in good:
            for wrong in WRONG:
                assert_fits_or_is_refused({**good, name: wrong}, kind, name, hints[name])

    check()


def assert_fits_or_is_refused(plain, kind, name, hint):
    try:
        value = from_plain(plain, kind, source="value")
    except InvalidSettings as error:
        refusal = error
    else:
        assert fits(getattr(value, name), hint), (name, plain[name])
        return
    assert refusal.message.isprintable()
    assert len(refusal.message) < 600
    for path, reason in refusal.faults:
        # A check of the whole value has no path of its own.
        assert path in {name, ""} or path.startswith((f"{name}.", f"{name}["))
        assert reason


def fits(value, kind):
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is object:
        return True
    if origin in {typing.Union, types.UnionType}:
        return any(fits(value, argument) for argument in arguments)
    if origin is tuple:
        return type(value) is tuple
    if origin is frozenset:
        return type(value) is frozenset
    if origin is Mapping:
        return isinstance(value, Mapping)
    return type(value) is kind


@pytest.mark.parametrize("kind", [*MODELS, *EVENTS], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("wrong", [None, 5, "text", [], True, [["name", "x"]]])
def test_what_is_no_table_is_refused(kind, wrong):
    assert list(faults(wrong, kind)) == [""]


@pytest.mark.parametrize(
    "wrong", [None, 5, "x", [], {}, {"type": "Nonsense"}, {"type": 5}, {"type": None}, {"type": []}]
)
def test_event_of_no_known_class_is_refused(wrong):
    with pytest.raises(InvalidSettings) as caught:
        event_from_plain(wrong)
    assert caught.value.message.isprintable()


def test_time_without_a_zone_is_refused():
    plain = {**to_plain(make_run()), "requested_at": "2026-03-29T01:02:03"}
    assert "has no time zone" in faults(plain, Run)["requested_at"]


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-23:59", "\ud800"]
)
def test_text_that_is_no_time_is_refused(text):
    assert "requested_at" in faults({**to_plain(make_run()), "requested_at": text}, Run)


@attrs.frozen
class Chosen:
    way: typing.Literal["fast", "small", 1] = "fast"


def test_one_of_few_values_is_read_and_anything_else_refused_with_the_list():
    assert from_plain({"way": "small"}, Chosen, source="x") == Chosen("small")
    assert from_plain({"way": 1}, Chosen, source="x") == Chosen(1)
    for wrong in ("cheap", True, None, ["fast"]):
        with pytest.raises(InvalidSettings, match=r"way: .* use one of fast, small, 1"):
            from_plain({"way": wrong}, Chosen, source="x")


def test_unknown_word_of_a_closed_list_is_refused_with_the_list():
    reason = faults({**to_plain(make_run()), "state": "sleeping"}, Run)["state"]
    for state in RunState:
        assert state.value in reason


@given(
    st.recursive(
        PLAIN,
        lambda inner: st.dictionaries(st.sampled_from(list(to_plain(JOB))), inner),
        max_leaves=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_data_is_read_or_refused(data):
    try:
        outcome = from_plain(data, Job, source="job")
    except InvalidSettings as error:
        outcome = error
    assert isinstance(outcome, Job) or (outcome.faults and outcome.message.isprintable())
